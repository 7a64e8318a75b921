#include "sim/report/text_parts.h"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <ostream>

namespace moesim {

void row(std::ostream& out, const char* label, const std::string& text) {
  out << fmt::format("{:<17} {}\n", label, text);
}

std::string layout_text(const std::vector<NodeInfo>& nodes,
                        const std::vector<InstanceSummary>& instances) {
  std::vector<std::string> parts;
  parts.reserve(nodes.size());
  for (const NodeInfo& node : nodes)
    parts.push_back(fmt::format("{} x {}", node.count * node.gpus_per_node, node.profile));
  if (instances.empty()) return fmt::format("{}", fmt::join(parts, " + "));
  const InstanceSummary& first = instances.front();
  std::string engines =
      instances.size() == 1 ? "one engine" : fmt::format("{} engines", instances.size());
  engines += fmt::format(" of TP{}", first.tensor_parallel_size);
  if (first.pipeline_parallel_size > 1)
    engines += fmt::format(" PP{}", first.pipeline_parallel_size);
  if (first.data_parallel_size > 1) engines += fmt::format(" DP{}", first.data_parallel_size);
  return fmt::format("{}, {}", fmt::join(parts, " + "), engines);
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
