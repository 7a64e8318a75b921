// Requests of one domain after those of another: the steps between must see it.
#include <doctest/doctest.h>
#include <memory>
#include <utility>
#include <vector>

#include "scenarios/workload.h"
#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

/// Domain "low" takes experts 0 and 1, "high" 2 and 3; first low, from 100 s on high.
class TwoDomains final : public ExpertRouting {
 public:
  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& /*size*/,
                                   std::uint64_t /*seed*/, std::uint64_t /*epoch*/) const override {
    RoutingTable table = empty_table(shape, {.sequences = 2, .prompt_rows = 50, .decode_rows = 50});
    table.domains = {{0, "low", ""}, {1, "high", ""}};
    table.sequences[1].domain = 1;
    for (std::uint64_t row = 0; row < table.rows(); ++row) {
      for (int layer = 0; layer < shape.layers; ++layer)
        table.set(row, layer, 0, static_cast<int>(row % 2 + (row < 100 ? 0 : 2)));
    }
    return table;
  }
  [[nodiscard]] RoutingReplay::Options replay(std::uint64_t seed) const override {
    return {.seed = seed, .domain_mix = {{0, {{"low", 1}}}, {100, {{"high", 1}}}}};
  }
};

/// 20 requests, one every 10 s.
Workload requests() {
  Workload all;
  for (int r = 0; r < 20; ++r) {
    all.arrival_ns.push_back(r * 10'000'000'000LL);
    all.prompt_tokens.push_back(8);
    all.output_tokens.push_back(100);
  }
  return all;
}

/// Assignments of the four experts at the first MoE layer, of a step in which each of `dp` ranks
/// has eight requests.
std::vector<double> load_of_step(StepTime& step_time, std::size_t dp, std::int64_t now_ns,
                                 std::uint32_t first) {
  const MoeStats before = step_time.moe_stats();
  std::vector<RoutedToken> tokens;
  for (std::uint32_t i = 0; i < 8; ++i) tokens.push_back({first + i, 3 + i});
  StepWork one = work(8, kNone, 8);
  one.tokens = tokens;
  one.now_ns = now_ns;
  StepCost cost;
  step_time.price_ranks(std::vector<StepWork>(dp, one), cost);
  const MoeStats after = step_time.moe_stats();
  std::vector<double> load;
  for (std::size_t e = 0; e < 4; ++e)
    load.push_back(after.expert_load[e] - (before.layers.empty() ? 0 : before.expert_load[e]));
  return load;
}

}  // namespace

TEST_CASE("without replacement it is told how often a recording was used up") {
  class Once final : public ExpertRouting {
   public:
    [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                     std::uint64_t seed, std::uint64_t epoch) const override {
      RoutingTable table = TwoDomains().table(shape, size, seed, epoch);
      table.domains.clear();
      return table;
    }
    [[nodiscard]] RoutingReplay::Options replay(std::uint64_t seed) const override {
      return {.replace = false, .seed = seed};
    }
  };
  Workload all = requests();
  for (auto* const column : {&all.prompt_tokens, &all.output_tokens}) column->resize(7);
  all.arrival_ns.resize(7);
  for (const auto fidelity :
       {RoutingFidelity::kSampled, RoutingFidelity::kExact, RoutingFidelity::kRankExact}) {
    CAPTURE(static_cast<int>(fidelity));
    Lockstep one({.fidelity = fidelity, .routing = std::make_unique<Once>(), .workload = &all});
    CHECK(one.step_time.moe_stats().sequence_epochs == 4);  // 7 requests, 2 sequences
  }
  Lockstep with({.fidelity = RoutingFidelity::kExact,
                 .routing = std::make_unique<TwoDomains>(),
                 .workload = &all});
  CHECK(with.step_time.moe_stats().sequence_epochs == 0);
}

TEST_CASE("a schedule of domain mixes reaches steps, drawn or exact, also when time goes back") {
  const Workload all = requests();
  for (const auto fidelity : {RoutingFidelity::kSampled, RoutingFidelity::kExact}) {
    CAPTURE(static_cast<int>(fidelity));
    constexpr std::size_t kRanks = 2;
    Lockstep one({.dp = kRanks,
                  .fidelity = fidelity,
                  .routing = std::make_unique<TwoDomains>(),
                  .workload = &all});
    const auto load = [&](std::int64_t now_s, std::uint32_t first) {
      return load_of_step(one.step_time, kRanks, now_s * 1'000'000'000, first);
    };
    // An instance that shares the prices starts where the one before it did.
    for (int instance = 0; instance < 2; ++instance) {
      CAPTURE(instance);
      const std::vector<double> early = load(50, 0);
      CHECK(early[0] + early[1] == doctest::Approx(16));
      const std::vector<double> late = load(150, 10);
      CHECK(late[2] + late[3] == doctest::Approx(16));
      CHECK(late[0] + late[1] == doctest::Approx(0));
    }
    // Only who arrived counts, however late the step is.
    if (fidelity == RoutingFidelity::kExact) CHECK(load(160, 2)[0] == 8);
  }
}
