#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "scenarios/expert_routing.h"
#include "scenarios/group_limit.h"
#include "sim/base/random.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Each slot keeps the expert that the previous token of the sequence had there with probability
/// `persistence`; the other slots take the choices of `base` for this token that are not kept, best
/// first. Shared experts of tokens n apart fall like persistence^n to those of the base: one time
/// scale, where real models have two (routing-traces.md 4.1).
///
/// With groups, kept experts keep their groups and the base's choices fill up to topk_groups of
/// them, best first; a choice outside is replaced inside (GroupLimit). Slots are kept as often as
/// without, and loads and overlaps stay what they are (markov_test.cpp).
class Markov final : public ExpertRouting {
 public:
  Markov(double persistence, std::unique_ptr<ExpertRouting> base)
      : persistence_(persistence), base_(std::move(base)) {}

  void check(const RoutingShape& shape) const override { base_->check(shape); }
  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                   std::uint64_t seed, std::uint64_t epoch) const override {
    const RoutingTable base = base_->table(shape, size, seed, epoch);
    RoutingTable table(base.shape(), base.rows());
    table.sequences = base.sequences;
    table.domains = base.domains;
    GroupLimit groups(shape, *base_, seed, epoch);
    for (const RoutedSequence& sequence : base.sequences) {
      Draws draws{Rng(seed, "markov_keeps", sequence.source_id),
                  Rng(seed, "markov_groups", sequence.source_id), groups};
      for (std::uint32_t i = 0; i < sequence.rows; ++i) {
        for (int layer = 0; layer < base.shape().layers; ++layer)
          fill(table, base, {sequence.first_row + i, layer, i == 0}, draws);
      }
    }
    return table;
  }
  [[nodiscard]] RoutingReplay::Options replay(std::uint64_t seed) const override {
    return base_->replay(seed);
  }
  [[nodiscard]] bool consecutive_rows() const override { return base_->consecutive_rows(); }
  [[nodiscard]] bool knows_next(const RoutingShape& shape) const override {
    return base_->knows_next(shape);
  }
  [[nodiscard]] double epoch_s() const override { return base_->epoch_s(); }
  TakesDrift take_drift(const LoadDrift& drift) override { return base_->take_drift(drift); }

 private:
  struct Cell {
    std::uint64_t row;
    int layer;
    bool first;  ///< of its sequence
  };

  struct Draws {
    Rng keeps, others;
    GroupLimit& groups;
  };

  void fill(RoutingTable& table, const RoutingTable& base, const Cell& at, Draws& draws) const {
    const int top_k = base.shape().top_k;
    std::vector<int> chosen(static_cast<std::size_t>(top_k), -1);  // -1: free
    draws.groups.start();
    for (int rank = 0; rank < top_k; ++rank) {
      if (draws.keeps.uniform() >= persistence_ || at.first) continue;
      const int expert = table.expert(at.row - 1, at.layer, rank);
      chosen[static_cast<std::size_t>(rank)] = expert;
      draws.groups.take(expert);
    }
    int next = 0;
    for (int rank = 0; rank < top_k; ++rank) {
      int& expert = chosen[static_cast<std::size_t>(rank)];
      while (expert < 0 && next < top_k) {
        const int choice = base.expert(at.row, at.layer, next++);
        if (std::ranges::find(chosen, choice) == chosen.end() && draws.groups.take(choice))
          expert = choice;
      }
      if (expert < 0) expert = draws.groups.more(at.layer, chosen, draws.others);
      table.set(at.row, at.layer, rank, expert);
    }
  }

  double persistence_;
  std::unique_ptr<ExpertRouting> base_;
};

const Register<ExpertRouting> kMarkov{
    "markov", "a slot keeps the previous token's expert with some probability, else asks a base",
    [](Reader& in) {
      const double persistence = in.number("persistence", {.min = 0, .max = 1});
      auto base = read_base_routing(in);
      return std::make_unique<Markov>(persistence, std::move(base));
    }};

}  // namespace
}  // namespace moesim
