#include <memory>

#include "scenarios/importer.h"
#include "scenarios/request_trace.h"
#include "scenarios/trace_text.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Mooncake's JSONL (FAST'25 release: timestamp in ms, input_length, output_length, hash_ids of 512
/// tokens) to our CSV and blocks file. Block ids are renumbered in order of first use. Their times
/// are quantised to 3 s, which we keep.
class Mooncake final : public Importer {
 public:
  Result convert(const std::vector<std::filesystem::path>& inputs) const override {
    if (inputs.size() != 1) {
      refuse_file("mooncake", "", "this importer reads one file", "give one JSONL file");
    }
    TraceSpec spec;
    spec.path = inputs[0];
    const Workload workload = read_request_trace(spec);
    Result result;
    result.files.emplace_back("", write_request_csv(workload));
    const std::string blocks = write_blocks_jsonl(workload, inputs[0].stem().string());
    if (blocks.empty()) {
      result.notes.push_back("no hash_ids: the trace has no prefix identity");
    } else {
      result.files.emplace_back(".blocks.jsonl", blocks);
      result.notes.push_back("hash_ids taken as blocks of 512 tokens and renumbered");
    }
    return result;
  }
};

const Register<Importer> kMooncake{"mooncake",
                                   "Mooncake JSONL trace to our request CSV and blocks file",
                                   [](Reader&) { return std::make_unique<Mooncake>(); }};

}  // namespace
}  // namespace moesim
