#pragma once

#include <span>
#include <vector>

#include "hardware/dispatch.h"

namespace moesim {

/// Spread of NCCL's collectives: median errors of 5 to 14 % on measured tables
/// (hardware/README.md).
inline constexpr double kNcclSpread = 0.15;

/// Collectives in which every rank's tokens go to every other rank of its group, whatever their
/// experts. One group of all ranks where TP ranks have split their tokens, else one per TP index,
/// all at the same time.
class GatherGroups {
 public:
  explicit GatherGroups(const DispatchSetup& setup);

  /// A collective over one of the groups while the others do the same on the same links.
  [[nodiscard]] double seconds(CollectiveKind kind, double bytes) const;
  /// [rank of the group] tokens it holds; the groups hold the same.
  [[nodiscard]] double held(std::span<const double> held, std::size_t rank) const {
    return held[rank * stride_];
  }
  [[nodiscard]] std::size_t ranks() const { return gpus_.size(); }
  /// Tokens of a group.
  [[nodiscard]] double tokens(std::span<const double> held) const;
  [[nodiscard]] bool equal(std::span<const double> held) const;
  /// Time of one more small operation in an NCCL group call.
  [[nodiscard]] double each_more() const { return each_more_; }
  /// Bytes by kind of link, in `cost`, when every rank gets what it lacks along a ring.
  void count_bytes(std::span<const double> held, double dispatch_bytes, double combine_bytes,
                   DispatchCost& cost) const;

 private:
  const Collectives* collectives_;
  std::size_t stride_;      // ranks of the setup from one of a group to the next
  std::vector<int> gpus_;   // of the first group
  double shared_ = 1;       // how much busier the links are than with one group
  double inter_share_ = 0;  // of a ring's hops, those between nodes
  double each_more_ = 0;
};

}  // namespace moesim
