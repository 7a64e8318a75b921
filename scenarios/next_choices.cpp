#include "scenarios/next_choices.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "sim/base/check.h"
#include "sim/base/random.h"

namespace moesim {
namespace {

/// Other tokens asked before the experts left are taken in order of their ids: only where nearly
/// all tokens choose the same.
constexpr std::uint64_t kAsked = 64;

/// The choices of one token at one layer as they get longer.
class Preferences {
 public:
  explicit Preferences(const RoutingShape& shape)
      : size_(shape.groups > 1 ? shape.experts / shape.groups : shape.experts),
        most_groups_(shape.groups > 1 ? shape.topk_groups : 1) {}
  void clear() {
    experts_.clear();
    groups_.clear();
  }
  /// Takes an expert that is new and lies in a group the token keeps, or may still keep.
  void offer(int expert) {
    if (std::ranges::find(experts_, expert) != experts_.end()) return;
    const int group = expert / size_;
    if (std::ranges::find(groups_, group) == groups_.end()) {
      if (static_cast<int>(groups_.size()) == most_groups_) return;
      groups_.push_back(group);
    }
    experts_.push_back(expert);
  }
  [[nodiscard]] std::size_t size() const { return experts_.size(); }
  [[nodiscard]] int operator[](std::size_t at) const { return experts_[at]; }

 private:
  int size_, most_groups_;
  std::vector<int> experts_, groups_;
};

/// A kind that ranks all experts: the ids behind the first top_k of a longer list.
RoutingTable behind(const RoutingTable& longer, const RoutingTable& own, const RoutingShape& next) {
  const int top_k = own.shape().top_k;
  MOESIM_CHECK(longer.rows() == own.rows(), "lists of two lengths are of the same tokens");
  RoutingTable table(next, own.rows());
  for (std::uint64_t row = 0; row < own.rows(); ++row) {
    for (int layer = 0; layer < next.layers; ++layer) {
      for (int k = 0; k < next.top_k; ++k)
        table.set(row, layer, k, longer.expert(row, layer, top_k + k));
    }
  }
  return table;
}

}  // namespace

int next_choices_of(const RoutingShape& shape) {
  const int held =
      shape.groups > 1 ? shape.experts / shape.groups * shape.topk_groups : shape.experts;
  return std::min(shape.top_k, held - shape.top_k);
}

RoutingTable next_choices(const ExpertRouting& routing, const RoutingTable& own,
                          const RoutingShape& shape, const TableSize& size, std::uint64_t seed,
                          std::uint64_t epoch) {
  MOESIM_CHECK(routing.knows_next(shape), "next choices are known");
  RoutingShape next = shape;
  next.top_k = next_choices_of(shape);
  if (routing.ranks_all()) {
    RoutingShape listed = shape;
    listed.top_k += next.top_k;
    return behind(routing.table(listed, size, seed, epoch), own, next);
  }
  RoutingTable table(next, own.rows());
  Preferences found(shape);
  const auto wanted = static_cast<std::size_t>(shape.top_k + next.top_k);
  for (std::uint64_t row = 0; row < own.rows(); ++row) {
    for (int layer = 0; layer < shape.layers; ++layer) {
      found.clear();
      const auto offer = [&](std::uint64_t of) {
        for (int k = 0; k < shape.top_k && found.size() < wanted; ++k)
          found.offer(own.expert(of, layer, k));
      };
      offer(row);
      const std::uint64_t key = mix64(seed ^ mix64(row << 16 | static_cast<std::uint64_t>(layer)));
      for (std::uint64_t i = 0; i < kAsked && found.size() < wanted; ++i)
        offer(mix64(key + i) % own.rows());
      for (int e = 0; e < shape.experts && found.size() < wanted; ++e) found.offer(e);
      for (int k = 0; k < next.top_k; ++k)
        table.set(row, layer, k, found[static_cast<std::size_t>(shape.top_k + k)]);
    }
  }
  return table;
}

}  // namespace moesim
