// Any bytes, taken as a trace and its blocks file, are either requests that survive being written
// and read again, or an InputError with a hint for every mistake.
#include <cstddef>
#include <cstdint>
#include <string>

#include "scenarios/request_trace.h"
#include "sim/base/check.h"
#include "sim/base/diagnostic.h"

namespace {

using moesim::TraceSpec;
using moesim::TraceText;
using moesim::Workload;

void check_columns(const Workload& workload) {
  MOESIM_CHECK(workload.size() > 0, "a trace has requests");
  for (std::size_t i = 0; i < workload.size(); ++i) {
    MOESIM_CHECK(workload.prompt_tokens[i] >= 1 && workload.output_tokens[i] >= 1,
                 "counts are at least 1");
    MOESIM_CHECK(i == 0 || workload.arrival_ns[i] >= workload.arrival_ns[i - 1],
                 "arrivals never decrease");
    if (workload.chain_begin.empty()) continue;
    const std::uint32_t end = workload.chain_begin[i + 1];
    if (end == workload.chain_begin[i]) continue;
    MOESIM_CHECK(workload.chain[end - 1].end == workload.prompt_tokens[i],
                 "a chain covers its prompt");
    MOESIM_CHECK(workload.chain[end - 1].id < workload.chain_ids, "ids are dense");
  }
}

void try_parse(const TraceText& text, const TraceSpec& spec) {
  try {
    const Workload workload = moesim::parse_request_trace(text, spec);
    check_columns(workload);
    static_cast<void>(moesim::write_request_csv(workload));
    static_cast<void>(moesim::write_blocks_jsonl(workload, "fuzz"));
  } catch (const moesim::InputError& error) {
    MOESIM_CHECK(!error.diagnostics().empty(), "an error says why");
    for (const moesim::Diagnostic& diagnostic : error.diagnostics()) {
      MOESIM_CHECK(!diagnostic.hint.empty(), "an error says what to do");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  TraceText whole;
  whole.trace = text;
  whole.trace_name = "fuzz.csv";
  try_parse(whole, {});
  TraceSpec window;
  window.start_s = 1;
  window.rate_scale = 2;
  try_parse(whole, window);
  // Cut at the first zero byte: a trace and its blocks.
  const std::size_t cut = text.find('\0');
  if (cut == std::string::npos) return 0;
  TraceText both = whole;
  both.trace = text.substr(0, cut);
  both.blocks = text.substr(cut + 1);
  both.blocks_name = "fuzz.blocks.jsonl";
  try_parse(both, {});
  return 0;
}
