#include "sim/steptime/expert_setup.h"

#include <cstdint>
#include <doctest/doctest.h>
#include <utility>
#include <vector>

#include "scenarios/workload.h"
#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

/// Domain "low" takes experts 0 and 1 in turn, "high" 2 and 3; as many rows of each.
class TwoDomains final : public ExpertRouting {
 public:
  explicit TwoDomains(std::vector<DomainMix> mix) : mix_(std::move(mix)) {}
  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& /*size*/,
                                   std::uint64_t /*seed*/, std::uint64_t /*epoch*/) const override {
    RoutingTable table = empty_table(shape, {.sequences = 2, .prompt_rows = 4, .decode_rows = 4});
    table.domains = {{0, "low", ""}, {1, "high", ""}};
    table.sequences[1].domain = 1;
    for (std::uint64_t row = 0; row < table.rows(); ++row) {
      for (int layer = 0; layer < shape.layers; ++layer)
        table.set(row, layer, 0, static_cast<int>(row % 2 + (row < 8 ? 0 : 2)));
    }
    return table;
  }
  [[nodiscard]] RoutingReplay::Options replay(std::uint64_t seed) const override {
    return {.seed = seed, .domain_mix = mix_};
  }

 private:
  std::vector<DomainMix> mix_;
};

}  // namespace

TEST_CASE("experts of a layer lie on the GPUs of its own pipeline stage") {
  // A dense layer and three MoE layers over two stages of two data-parallel ranks with two GPUs.
  ModelSpec model = three_layers();
  model.layers.push_back(model.layers.back());
  const Parallel parallel{.tp = 2, .pp = 2, .dp = 2, .expert_parallel = true};
  const std::vector<int> gpus = {10, 11, 12, 13, 14, 15, 16, 17};
  const StageParts parts = stage_parts(model, parallel, gpus);
  // Rank order is DP, stage, TP.
  CHECK(parts.gpus == std::vector<std::vector<int>>{{10, 11, 14, 15}, {12, 13, 16, 17}});
  CHECK(parts.stage_of_layer == std::vector<int>{0, 1, 1});
}

TEST_CASE("loads to come are those of the domains that the run's requests are of") {
  Scenario scenario;
  scenario.model = three_layers();  // two MoE layers of four experts, top-1
  scenario.placement.name = "eplb";
  scenario.placement.init_expert_location = "routing";
  Workload requests;  // three arrive before 100 s
  for (const std::int64_t s : {0, 20, 40, 120}) {
    requests.arrival_ns.push_back(s * 1'000'000'000);
    requests.prompt_tokens.push_back(8);
    requests.output_tokens.push_back(8);
  }
  const auto loads = [&](std::vector<DomainMix> mix) {
    return first_loads(scenario, TwoDomains(std::move(mix)), {}, requests);
  };
  using Loads = std::vector<double>;
  CHECK(loads({}) == Loads{4, 4, 4, 4, 4, 4, 4, 4});
  CHECK(loads({{0, {{"high", 2}}}}) == Loads{0, 0, 8, 8, 0, 0, 8, 8});
  CHECK(loads({{0, {{"low", 1}}}, {100, {{"high", 1}}}}) == Loads{6, 6, 2, 2, 6, 6, 2, 2});
  requests.domain_names = {"high"};
  requests.domain = {0, kNoDomain, kNoDomain, 0};
  CHECK(loads({{0, {{"low", 1}}}}) == Loads{4, 4, 4, 4, 4, 4, 4, 4});
  requests.domain = {0, 0, 0, kNoDomain};
  CHECK(loads({{0, {{"low", 1}}}}) == Loads{2, 2, 6, 6, 2, 2, 6, 6});
}
