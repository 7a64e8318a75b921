#include "sim/steptime/sampled_traffic.h"

#include <algorithm>

namespace moesim {

void SampledTraffic::add(const MoeGroup& group, const MoeLayerCost& cost) {
  even_.push_back({cost.dispatch_ns, cost.combine_ns});
  const DispatchTraffic traffic = group.last_traffic();
  for (const auto part : {traffic.rank_copies, traffic.slots, traffic.node_copies})
    counts_.insert(counts_.end(), part.begin(), part.end());
}

SampledTraffic::Ratio SampledTraffic::ratio(std::size_t first, std::size_t count,
                                            const MoeGroup& group,
                                            std::span<const double> held) const {
  const auto ranks = static_cast<std::size_t>(group.ranks());
  const auto nodes = static_cast<std::size_t>(group.nodes());
  const std::size_t width = 2 * ranks + nodes;
  Even even{0, 0}, uneven{0, 0};
  for (std::size_t i = first; i < first + count; ++i) {
    const auto counts = std::span(counts_).subspan(i * width, width);
    const DispatchCost cost = group.dispatch()->cost(
        {held, counts.first(ranks), counts.subspan(ranks, ranks), counts.last(nodes)});
    uneven.dispatch_ns += cost.dispatch_ns;
    uneven.combine_ns += cost.combine_ns;
    even.dispatch_ns += even_[i].dispatch_ns;
    even.combine_ns += even_[i].combine_ns;
  }
  Ratio ratio;
  if (even.dispatch_ns > 0) ratio.dispatch = uneven.dispatch_ns / even.dispatch_ns;
  if (even.combine_ns > 0) ratio.combine = uneven.combine_ns / even.combine_ns;
  return ratio;
}

bool evenly_held(std::span<const double> held) {
  return std::ranges::all_of(held, [&](double tokens) { return tokens == held.front(); });
}

}  // namespace moesim
