#include "sim/cli/cases.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "scenarios/load.h"
#include "scenarios/routing_trace.h"
#include "sim/base/diagnostic.h"
#include "sim/base/reader.h"

namespace moesim {
namespace {

/// Whether two scenarios read the same requests from the same bytes, and ask the same of them.
bool read_alike(const WorkloadSpec& a, const WorkloadSpec& b) {
  const auto key = [](const WorkloadSpec& spec) {
    const TraceSpec& trace = *spec.trace;
    return std::tuple(trace.path, trace.blocks, trace.ignore_blocks, trace.block_tokens,
                      trace.block_tokens_given, trace.start_s, trace.end_s, trace.rate_scale,
                      trace.without_priority.has_value());
  };
  return a.trace && b.trace && key(a) == key(b);
}

/// Mistakes of several inputs, each once.
class Mistakes {
 public:
  template <class Read>
  void collect(const Read& read) {
    try {
      read();
    } catch (const InputError& error) {
      for (const Diagnostic& one : error.diagnostics()) {
        if (known_.emplace(one.where.file, one.where.line, one.where.column, one.key + one.problem)
                .second)
          diagnostics_.add(one);
      }
    }
  }
  void throw_if_any() const { diagnostics_.throw_if_any(); }

 private:
  std::set<std::tuple<std::string, int, int, std::string>> known_;
  Diagnostics diagnostics_;
};

/// Files of recorded tokens that a kind, or the one it is based on, replays.
void find_token_files(Reader& kind, const std::string& name, std::set<std::string>& files) {
  if (name == "trace" && kind.is_text("path")) files.insert(kind.text("path"));
  if (!kind.is_map("base")) return;
  Reader base = kind.map("base");
  find_token_files(base, base.text_or("kind", ""), files);
}

std::set<std::string> token_files(const std::vector<const Scenario*>& scenarios) {
  std::set<std::string> files;
  for (const Scenario* const scenario : scenarios) {
    const Policy& policy = scenario->routing.policy;
    if (!scenario->model.is_moe() || policy.params.empty()) continue;
    Diagnostics none;  // of a section that was read before
    const Document section = Document::parse(policy.params, policy.where.file);
    Reader kind(section, none);
    find_token_files(kind, policy.name, files);
  }
  return files;
}

}  // namespace

Scenario load_variant(const Arguments& args, const VariantSpec& variant) {
  std::vector<Override> overrides = args.overrides;
  for (const auto& [path, value] : variant.set)
    overrides.push_back({path, value, fmt::format("variant '{}'", variant.name)});
  return load_scenario(args.inputs.front(), overrides);
}

Recordings::Recordings(const std::vector<const Scenario*>& scenarios)
    : requests_(scenarios.size(), nullptr) {
  Mistakes mistakes;
  for (std::size_t i = 0; i < scenarios.size(); ++i) {
    const WorkloadSpec& spec = scenarios[i]->workload;
    if (!spec.trace) continue;
    const auto alike = std::ranges::find_if(
        scenarios, [&](const Scenario* other) { return read_alike(other->workload, spec); });
    const auto first = static_cast<std::size_t>(alike - scenarios.begin());
    if (first < i) {
      requests_[i] = requests_[first];
      if (requests_[i] != nullptr) mistakes.collect([&] { check_window(spec, *requests_[i]); });
      continue;
    }
    mistakes.collect([&] {
      read_.push_back(make_workload(spec, scenarios[i]->seed));
      requests_[i] = &read_.back();
    });
  }
  for (const std::string& file : token_files(scenarios))
    mistakes.collect([&] { read_routed_tokens(file).check_all_rows(); });
  mistakes.throw_if_any();
}

}  // namespace moesim
