#include "scenarios/group_limit.h"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>

#include "scenarios/expert_routing.h"
#include "sim/base/check.h"
#include "sim/base/random.h"

namespace moesim {
namespace {

/// Of many sequences, since tokens of one are alike; and tokens asked before any expert will do:
/// only where nearly all tokens choose the same.
constexpr TableSize kOthers{.sequences = 256, .prompt_rows = 0, .decode_rows = 8};
constexpr int kAsked = 64;

bool is_limited(const RoutingShape& shape) {
  return shape.groups > 1 && shape.topk_groups < shape.groups;
}

}  // namespace

GroupLimit::GroupLimit(const RoutingShape& shape, const ExpertRouting& base, std::uint64_t seed,
                       std::uint64_t epoch)
    : experts_(shape.experts) {
  if (!is_limited(shape)) return;
  size_ = shape.experts / shape.groups;
  most_ = static_cast<std::size_t>(shape.topk_groups);
  others_ = base.table(shape, kOthers, seed, epoch);
  others_.check_all_rows();
}

bool GroupLimit::allowed(int expert) const {
  return size_ == 0 || kept_.size() < most_ ||
         std::ranges::find(kept_, expert / size_) != kept_.end();
}

bool GroupLimit::take(int expert) {
  if (!allowed(expert)) return false;
  if (size_ > 0 && std::ranges::find(kept_, expert / size_) == kept_.end())
    kept_.push_back(expert / size_);
  return true;
}

int GroupLimit::more(int layer, std::span<const int> chosen, Rng& rng) {
  const auto is_free = [&](int expert) {
    return std::ranges::find(chosen, expert) == chosen.end() && allowed(expert);
  };
  const auto rows = static_cast<std::uint32_t>(others_.rows());
  for (int asked = 0; asked < kAsked; ++asked) {
    const std::uint64_t row = rng.below(rows);
    for (int rank = 0; rank < others_.shape().top_k; ++rank) {
      const int expert = others_.expert(row, layer, rank);
      if (is_free(expert) && take(expert)) return expert;
    }
  }
  std::vector<int> left;
  for (int e = 0; e < experts_; ++e) {
    if (is_free(e)) left.push_back(e);
  }
  MOESIM_CHECK(!left.empty(), "the groups of a token have room for its experts");
  const int expert = left[rng.below(static_cast<std::uint32_t>(left.size()))];
  take(expert);
  return expert;
}

std::string groups_remark(const RoutingTable& table) {
  const RoutingShape& shape = table.shape();
  if (!is_limited(shape)) return "";
  table.check_all_rows();
  const int size = shape.experts / shape.groups;
  std::vector<std::uint64_t> last(static_cast<std::size_t>(shape.groups), 0);  // cell, from 1
  std::uint64_t cell = 0, beyond = 0;
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    for (int layer = 0; layer < shape.layers; ++layer) {
      ++cell;
      int reached = 0;
      for (int rank = 0; rank < shape.top_k; ++rank) {
        std::uint64_t& seen = last[static_cast<std::size_t>(table.expert(row, layer, rank) / size)];
        reached += seen == cell ? 0 : 1;
        seen = cell;
      }
      beyond += reached > shape.topk_groups ? 1 : 0;
    }
  }
  if (beyond == 0) return "";
  return fmt::format(
      "{:.3g} % of tokens and layers have experts of more groups than topk_groups {} of n_groups "
      "{}",
      100.0 * static_cast<double>(beyond) / static_cast<double>(cell), shape.topk_groups,
      shape.groups);
}

}  // namespace moesim
