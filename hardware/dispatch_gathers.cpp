#include "hardware/dispatch_gathers.h"

#include <cmath>

#include "hardware/link_loads.h"
#include "sim/base/check.h"

namespace moesim {

namespace {

/// Adds one byte on every hop of a ring through the group, node by node; returns hops between
/// nodes.
int add_ring(std::span<const int> gpus, const Topology& topology, LinkLoads& loads) {
  const std::vector<int> ring = in_order(gpus);
  int between = 0;
  for (std::size_t i = 0; i < ring.size(); ++i) {
    const int next = ring[(i + 1) % ring.size()];
    loads.add(ring[i], next, 1);
    if (topology.node_of(ring[i]) != topology.node_of(next)) ++between;
  }
  return between;
}

std::vector<int> every(std::span<const int> gpus, std::size_t first, std::size_t stride) {
  std::vector<int> result;
  for (std::size_t i = first; i < gpus.size(); i += stride) result.push_back(gpus[i]);
  return result;
}

}  // namespace

GatherGroups::GatherGroups(const DispatchSetup& setup)
    : collectives_(setup.collectives),
      stride_(setup.sequence_parallel ? 1 : static_cast<std::size_t>(setup.tp)),
      gpus_(every(setup.gpus, 0, stride_)) {
  const Topology& topology = *setup.topology;
  LinkLoads one(topology), all(topology);
  const int between = add_ring(gpus_, topology, one);
  for (std::size_t i = 0; i < stride_; ++i) add_ring(every(setup.gpus, i, stride_), topology, all);
  const double alone = one.busiest().seconds_per_byte;
  if (alone > 0) shared_ = all.busiest().seconds_per_byte / alone;
  inter_share_ = between / static_cast<double>(gpus_.size());
  // What a peer adds to a grouped call: collectives/direct_all_to_all.cpp, fitted to
  // NCCL 2.27-2.29.
  each_more_ = 0.12 * longest_hop(gpus_, topology).value();
}

double GatherGroups::seconds(CollectiveKind kind, double bytes) const {
  const auto whole = static_cast<std::int64_t>(std::llround(bytes * shared_));
  return collectives_->cost({kind, Bytes(whole), gpus_}).time.value();
}

double GatherGroups::tokens(std::span<const double> held) const {
  MOESIM_CHECK(held.size() == stride_ * ranks(), "a count for every rank");
  double sum = 0;
  for (std::size_t rank = 0; rank < ranks(); ++rank) sum += this->held(held, rank);
  return sum;
}

bool GatherGroups::equal(std::span<const double> held) const {
  for (std::size_t rank = 1; rank < ranks(); ++rank) {
    if (this->held(held, rank) != this->held(held, 0)) return false;
  }
  return true;
}

void GatherGroups::count_bytes(std::span<const double> held, double dispatch_bytes,
                               double combine_bytes, DispatchCost& cost) const {
  // Every rank gets all tokens but its own, over as many hops as there are other ranks.
  const double moved =
      tokens(held) * static_cast<double>(ranks() - 1) * static_cast<double>(stride_);
  cost.dispatch_bytes_inter = inter_share_ * moved * dispatch_bytes;
  cost.dispatch_bytes_intra = moved * dispatch_bytes - cost.dispatch_bytes_inter;
  cost.combine_bytes_inter = inter_share_ * moved * combine_bytes;
  cost.combine_bytes_intra = moved * combine_bytes - cost.combine_bytes_inter;
  double least = held[0];
  for (std::size_t rank = 1; rank < held.size(); ++rank) {
    if (held[rank] >= least) continue;  // who has least lacks most
    least = held[rank];
    cost.busiest_rank = static_cast<int>(rank);
  }
}

}  // namespace moesim
