#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "scenarios/routing_table.h"

namespace moesim {

class ExpertRouting;
class Rng;

/// Keeps the choices of a token inside the groups it may reach, for kinds that put other experts
/// into the choices of a base (markov, hot_expert): a model with groups (RoutingShape::groups)
/// looks at no expert outside the topk_groups best of them (DeepSeek-V3, arXiv:2412.19437, 2.1.2).
/// What is chosen first keeps its group; where the base's own choice is refused the token goes on
/// with what others of the layer chose (as next_choices). Without groups nothing is refused.
class GroupLimit {
 public:
  /// Asks the base for 2048 tokens, whatever the size of the table, if there is anything to limit.
  GroupLimit(const RoutingShape& shape, const ExpertRouting& base, std::uint64_t seed,
             std::uint64_t epoch);

  /// The next token, or layer: no group is kept yet.
  void start() { kept_.clear(); }
  /// Whether the expert lies in a kept group, or in one more that may be kept and now is.
  bool take(int expert);
  /// A further expert that may be taken, none of `chosen`, and takes it. Precondition: the groups
  /// of a token have room for top_k experts, and fewer are chosen.
  int more(int layer, std::span<const int> chosen, Rng& rng);

 private:
  [[nodiscard]] bool allowed(int expert) const;

  int experts_;
  int size_ = 0;  ///< of a group; 0: no limit
  std::size_t most_ = 0;
  std::vector<int> kept_;
  RoutingTable others_;
};

/// What there is to say of tokens whose experts lie in more groups than the table's shape allows;
/// empty: nothing. Throws InputError if rows of a mapped file are damaged.
[[nodiscard]] std::string groups_remark(const RoutingTable& table);

}  // namespace moesim
