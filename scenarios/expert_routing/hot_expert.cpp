#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fmt/format.h>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "scenarios/expert_routing.h"
#include "scenarios/group_limit.h"
#include "sim/base/random.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

struct HotSpot {
  double fraction = 0;
  int experts = 1;
  std::vector<double> layers;  ///< empty: all
  double from_s = 0;
  Where where_experts, where_layers;
  std::string key_experts, key_layers;
};

/// With probability `fraction` the first slot of a token goes to a hot expert of the layer and the
/// base's last choice is dropped; the rest is the base's. A router that collapses, as a fine-tune
/// without balancing loss does. With one expert a token, its load is `fraction` plus its part of
/// the rest; with K, at most 1/K of all slots. Of several hot experts a token takes one.
///
/// With groups, the hot expert's group is kept, and of the base's the last that a token came to
/// falls out if they are too many; choices in it are replaced inside the others (GroupLimit).
class HotExpert final : public ExpertRouting {
 public:
  HotExpert(HotSpot spot, std::unique_ptr<ExpertRouting> base)
      : spot_(std::move(spot)), base_(std::move(base)) {}

  void check(const RoutingShape& shape) const override {
    base_->check(shape);
    if (spot_.experts > shape.experts) {
      throw_input_error(
          {spot_.where_experts, spot_.key_experts,
           fmt::format("{} hot experts in a layer of {}", spot_.experts, shape.experts),
           "write fewer"});
    }
    for (const double layer : spot_.layers) {
      if (layer < shape.layers && layer == std::floor(layer)) continue;
      throw_input_error(
          {spot_.where_layers, spot_.key_layers,
           fmt::format("{:g} is not a layer of a model of {} MoE layers", layer, shape.layers),
           "layers here are MoE layers, counted from 0 with dense ones left out; leave it out for "
           "all"});
    }
  }

  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                   std::uint64_t seed, std::uint64_t epoch) const override {
    const bool cold = spot_.from_s > 0 && static_cast<double>(epoch) * epoch_s() < spot_.from_s;
    const std::uint64_t base_epoch = std::isinf(base_->epoch_s()) ? 0 : epoch;
    RoutingTable base = base_->table(shape, size, seed, base_epoch);
    if (cold) return base;
    RoutingTable table(base.shape(), base.rows());
    table.sequences = base.sequences;
    table.domains = base.domains;
    std::vector<std::vector<int>> hot;
    hot.reserve(static_cast<std::size_t>(base.shape().layers));
    for (int layer = 0; layer < base.shape().layers; ++layer)
      hot.push_back(is_hot(layer) ? hot_experts(base.shape().experts, seed, layer)
                                  : std::vector<int>());
    GroupLimit groups(shape, *base_, seed, base_epoch);
    for (const RoutedSequence& sequence : base.sequences) {
      Rng rng(seed, "hot_tokens", sequence.source_id);
      Draws draws{Rng(seed, "hot_groups", sequence.source_id), groups};
      for (std::uint64_t row = sequence.first_row; row < sequence.first_row + sequence.rows;
           ++row) {
        for (int layer = 0; layer < base.shape().layers; ++layer)
          fill(table, base, {row, layer, pick(hot[static_cast<std::size_t>(layer)], rng)}, draws);
      }
    }
    return table;
  }
  [[nodiscard]] RoutingReplay::Options replay(std::uint64_t seed) const override {
    return base_->replay(seed);
  }
  [[nodiscard]] bool independent_tokens() const override { return base_->independent_tokens(); }
  [[nodiscard]] bool consecutive_rows() const override { return base_->consecutive_rows(); }
  [[nodiscard]] bool knows_next(const RoutingShape& shape) const override {
    return base_->knows_next(shape);
  }
  /// The base's; where that is constant, `from_s` is the one change. With a base that drifts the
  /// heat starts with the first of its epochs that begins at or after `from_s`.
  [[nodiscard]] double epoch_s() const override {
    const double base = base_->epoch_s();
    return std::isinf(base) && spot_.from_s > 0 ? spot_.from_s : base;
  }
  TakesDrift take_drift(const LoadDrift& drift) override { return base_->take_drift(drift); }

 private:
  struct Cell {
    std::uint64_t row;
    int layer;
    int hot;  ///< expert that takes the first slot, -1: none
  };

  [[nodiscard]] bool is_hot(int layer) const {
    return spot_.layers.empty() || std::ranges::find(spot_.layers, layer) != spot_.layers.end();
  }
  [[nodiscard]] std::vector<int> hot_experts(int experts, std::uint64_t seed, int layer) const {
    Rng rng(seed, "hot_experts", static_cast<std::uint64_t>(layer));
    std::vector<int> chosen;
    while (static_cast<int>(chosen.size()) < spot_.experts) {
      const auto expert = static_cast<int>(rng.below(static_cast<std::uint32_t>(experts)));
      if (std::ranges::find(chosen, expert) == chosen.end()) chosen.push_back(expert);
    }
    return chosen;
  }
  [[nodiscard]] int pick(const std::vector<int>& hot, Rng& rng) const {
    if (rng.uniform() >= spot_.fraction || hot.empty()) return -1;
    return hot[rng.below(static_cast<std::uint32_t>(hot.size()))];
  }
  struct Draws {
    Rng others;
    GroupLimit& groups;
  };
  /// The hot expert moves to the front; the choices before its old place, or before the end, move
  /// back by one.
  static void fill(RoutingTable& table, const RoutingTable& base, const Cell& at, Draws& draws) {
    const int top_k = base.shape().top_k;
    if (at.hot < 0) {
      for (int rank = 0; rank < top_k; ++rank)
        table.set(at.row, at.layer, rank, base.expert(at.row, at.layer, rank));
      return;
    }
    std::vector<int> chosen{at.hot};
    draws.groups.start();
    draws.groups.take(at.hot);
    for (int next = 0; next < top_k && static_cast<int>(chosen.size()) < top_k; ++next) {
      const int expert = base.expert(at.row, at.layer, next);
      if (expert != at.hot && draws.groups.take(expert)) chosen.push_back(expert);
    }
    while (static_cast<int>(chosen.size()) < top_k)
      chosen.push_back(draws.groups.more(at.layer, chosen, draws.others));
    for (int rank = 0; rank < top_k; ++rank)
      table.set(at.row, at.layer, rank, chosen[static_cast<std::size_t>(rank)]);
  }

  HotSpot spot_;
  std::unique_ptr<ExpertRouting> base_;
};

const Register<ExpertRouting> kHotExpert{
    "hot_expert", "a share of tokens goes to one expert of the layer, the rest to a base",
    [](Reader& in) {
      HotSpot spot;
      spot.fraction = in.number("fraction", {.min = 0, .max = 1});
      spot.experts = static_cast<int>(in.integer_or("experts", 1, {.min = 1, .max = 4096}));
      spot.layers = in.numbers_or("layers", {}, {.min = 0, .max = 4096});
      spot.from_s = in.number_or("from_s", 0, {.min = 0, .max = 1e8});
      spot.where_experts = in.where("experts");
      spot.where_layers = in.where("layers");
      spot.key_experts = in.path("experts");
      spot.key_layers = in.path("layers");
      auto base = read_base_routing(in);
      return std::make_unique<HotExpert>(std::move(spot), std::move(base));
    }};

}  // namespace
}  // namespace moesim
