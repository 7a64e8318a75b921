#include "sim/report/text_parts.h"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <ostream>
#include <utility>

namespace moesim {

void row(std::ostream& out, const char* label, const std::string& text) {
  out << fmt::format("{:<17} {}\n", label, text);
}

namespace {

std::string degrees(const InstanceSummary& one) {
  std::string text = fmt::format("TP{}", one.tensor_parallel_size);
  if (one.pipeline_parallel_size > 1) text += fmt::format(" PP{}", one.pipeline_parallel_size);
  if (one.data_parallel_size > 1) text += fmt::format(" DP{}", one.data_parallel_size);
  return text;
}

std::string engine_name(const InstanceSummary& one) {
  return fmt::format("{} {}", one.backend, one.backend_version);
}

/// "TP2", "3 x TP1": each kind of engine, in order of appearance.
std::vector<std::string> engine_kinds(const std::vector<InstanceSummary>& instances) {
  const bool mixed = engine_names(instances).size() > 1;
  std::vector<std::pair<std::string, int>> kinds;
  for (const InstanceSummary& one : instances) {
    const std::string name = mixed ? engine_name(one) + " " + degrees(one) : degrees(one);
    const auto known = std::ranges::find(kinds, name, [](const auto& kind) { return kind.first; });
    if (known == kinds.end()) {
      kinds.emplace_back(name, 1);
    } else {
      ++known->second;
    }
  }
  std::vector<std::string> texts;
  for (const auto& [name, count] : kinds)
    texts.push_back(count == 1 ? name : fmt::format("{} x {}", count, name));
  return texts;
}

}  // namespace

std::vector<std::string> engine_names(const std::vector<InstanceSummary>& instances) {
  std::vector<std::string> names;
  for (const InstanceSummary& one : instances) {
    const std::string name = engine_name(one);
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

std::string layout_text(const std::vector<NodeInfo>& nodes,
                        const std::vector<InstanceSummary>& instances) {
  std::vector<std::string> parts;
  parts.reserve(nodes.size());
  for (const NodeInfo& node : nodes)
    parts.push_back(fmt::format("{} x {}", node.count * node.gpus_per_node, node.profile));
  if (instances.empty()) return fmt::format("{}", fmt::join(parts, " + "));
  const std::string engines =
      instances.size() == 1 ? "one engine" : fmt::format("{} engines", instances.size());
  const std::vector<std::string> kinds = engine_kinds(instances);
  const std::string all = kinds.size() == 1
                              ? fmt::format("{} of {}", engines, degrees(instances.front()))
                              : fmt::format("{}: {}", engines, fmt::join(kinds, " + "));
  return fmt::format("{}, {}", fmt::join(parts, " + "), all);
}

void write_warnings(const std::vector<std::string>& warnings, std::ostream& out) {
  constexpr std::size_t kMost = 5;

  if (warnings.empty()) return;
  out << "\nwarnings\n";
  for (std::size_t i = 0; i < std::min(warnings.size(), kMost); ++i)
    out << "  " << warnings[i] << '\n';
  if (warnings.size() > kMost)
    out << fmt::format("  and {} more, in report.json\n", warnings.size() - kMost);
}

}  // namespace moesim
