#include "sim/report/moe_section.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sim/report/json_moe.h"
#include "sim/steptime/moe_stats.h"
#include "tests/sim/report/report_support.h"
#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

/// Two MoE layers behind a dense one, four experts on two ranks: four steps, forty tokens.
MoeStats four_steps() {
  MoeStats stats;
  stats.fidelity = "exact";
  stats.layers.resize(2);
  for (MoeLayerStats& layer : stats.layers) {
    layer.steps = 4;
    layer.tokens = 40;
    layer.assignments = 40;
    layer.active = 6;
    layer.rank_imbalance = 5;
    layer.expert_imbalance = 10;
    layer.bytes_intra = 100;
    layer.bytes_inter = 7;
    layer.rank_imbalances.add(1250, 4);
    layer.step_tokens = 10;
    layer.rank_imbalance_tokens = 12.5;
  }
  stats.layers[1].dropped = 4;
  stats.layers[1].moved = 2;
  stats.layers[1].left_with_none = 1;
  stats.expert_load = {20, 10, 5, 5, 12, 8, 8, 8};
  stats.straggler = {6, 2};
  stats.ranks = 2;
  stats.experts = 4;
  stats.rebalances = {{9, 2e6, 64, 1.5, 1.1}};
  return stats;
}

struct Reported {
  explicit Reported(const MoeStats& stats, std::optional<ExpertPlacement> placement) {
    run.scenario.model = three_layers();
    run.scenario.placement.name = "eplb";
    RunView view = run.view();
    view.moe = {{0, stats, std::move(placement)}};
    section = *make_moe(view);
  }
  HandMadeRun run;
  MoeSection section;
};

}  // namespace

TEST_CASE("sums over steps become means, shares and ratios") {
  const Reported reported(four_steps(), placed(2, 4, {{0, 1}, {2, 3}}));
  const MoeSection& moe = reported.section;
  REQUIRE(moe.layers.size() == 2);
  const MoeLayerReport& layer = moe.layers[1];
  CHECK(moe.layers[0].layer == 1);  // counted over the model, whose first layer is dense
  CHECK(layer.layer == 2);
  CHECK(layer.active_experts_mean == 1.5);
  CHECK(layer.rank_imbalance_mean == 1.25);
  CHECK(layer.rank_imbalance_p99 == doctest::Approx(1.25).epsilon(0.01));
  CHECK(layer.expert_imbalance_mean == 2.5);
  CHECK(layer.dropped_ratio == 0.1);
  CHECK(layer.moved_ratio == 0.05);
  CHECK(layer.tokens_with_none_ratio == 0.025);
  CHECK(layer.a2a_bytes_intra == 100);
  CHECK(layer.a2a_bytes_inter == 7);
  CHECK(moe.mean_rank_imbalance() == 1.25);
  CHECK(moe.expert_load_ratio[0] == std::vector<double>{2, 1, 0.5, 0.5});
  CHECK(moe.ranks == 2);
  CHECK(moe.fidelity == "exact");
  REQUIRE(moe.rebalances.size() == 1);
  CHECK(moe.rebalances[0].copy_ms == 2);
}

TEST_CASE("the straggler is the rank that was slowest most often, and its hottest expert") {
  const Reported reported(four_steps(), placed(2, 4, {{0, 1}, {2, 3}}));
  const auto& straggler = reported.section.straggler;
  REQUIRE(straggler.has_value());
  CHECK(straggler->rank == 0);
  CHECK(straggler->share_ratio == 0.75);
  CHECK(straggler->layer == 1);
  CHECK(straggler->expert == 0);
  CHECK(straggler->expert_load_ratio == 2);
}

TEST_CASE("where nobody waits there is no straggler") {
  MoeLayerCost cost;
  cost.gemm_ns = 5;
  cost.straggler = 1;
  CHECK(record_of(cost, 2, 8).straggler == -1);
  cost.wait_ns = 1e-12;  // rounding
  CHECK(record_of(cost, 2, 8).straggler == -1);
  cost.wait_ns = 1;
  CHECK(record_of(cost, 2, 8).straggler == 1);
  MoeStats stats = four_steps();
  stats.straggler = {0, 0};
  cost.wait_ns = 0;
  add_record(record_of(cost, 2, 8), 0, stats);
  CHECK(stats.straggler == std::vector<double>{0, 0});
  CHECK(!Reported(stats, placed(2, 4, {{0, 1}, {2, 3}})).section.straggler.has_value());
}

TEST_CASE("an expert's copies share its load when a straggler is looked for") {
  // Two thirds of the mean on each copy of expert 0: expert 1 is hotter.
  const Reported reported(four_steps(), placed(2, 4, {{0, 1, 2}, {3, 0, 0}}));
  REQUIRE(reported.section.straggler.has_value());
  CHECK(reported.section.straggler->expert == 1);
  CHECK(reported.section.straggler->expert_load_ratio == 1);
  CHECK(reported.section.redundant_experts == 2);
}

TEST_CASE("experts that are cut have no placement, rebalances or straggler") {
  MoeStats stats = four_steps();
  stats.ranks = 1;
  const Reported reported(stats, std::nullopt);
  CHECK(reported.section.placement.empty());
  CHECK(reported.section.rebalances.empty());
  CHECK(!reported.section.straggler.has_value());
}

TEST_CASE("instances are told together: sums, means over all steps, the worst straggler") {
  MoeStats more = four_steps();
  for (MoeLayerStats& layer : more.layers) {
    layer.steps = 12;
    layer.tokens = layer.assignments = 80;
    layer.active = 6;
    layer.rank_imbalance = 24;
    layer.rank_imbalances.add(2000, 8);
    layer.step_tokens = 30;
    layer.rank_imbalance_tokens = 60;
  }
  more.expert_load = {0, 0, 0, 80, 20, 20, 20, 20};
  more.straggler = {2, 22};
  more.dispatch_estimated = true;
  more.sequence_epochs = 3;
  more.rebalances = {{5, 1e6, 32, 2, 1.5}, {7, 1e6, 32, 2, 1.5}};
  HandMadeRun run(2);
  run.scenario.model = three_layers();
  run.scenario.placement.name = "eplb";
  RunView view = run.view();
  const ExpertPlacement placement = placed(2, 4, {{0, 1}, {2, 3}});
  view.moe = {{0, four_steps(), placement}, {1, more, placement}};
  const MoeSection moe = *make_moe(view);
  REQUIRE(moe.layers.size() == 2);
  const MoeLayerReport& layer = moe.layers[1];
  CHECK(layer.tokens == 120);
  CHECK(layer.assignments == 120);
  CHECK(layer.active_experts_mean == 12.0 / 16);
  CHECK(layer.rank_imbalance_mean == 29.0 / 16);
  // 10 tokens at 1.25 and 30 at 2
  CHECK(layer.rank_imbalance_by_tokens == doctest::Approx((10 * 1.25 + 30 * 2.0) / 40));
  CHECK(layer.expert_imbalance_mean == 20.0 / 16);
  CHECK(layer.rank_imbalance_p99 == doctest::Approx(2).epsilon(0.01));
  CHECK(layer.dropped_ratio == 8.0 / 120);
  CHECK(layer.a2a_bytes_intra == 200);
  CHECK(layer.a2a_bytes_inter == 14);
  CHECK(moe.expert_load_ratio[0] == std::vector<double>{20 / 30.0, 10 / 30.0, 5 / 30.0, 85 / 30.0});
  REQUIRE(moe.straggler.has_value());
  CHECK(moe.straggler->instance == "1");
  CHECK(moe.straggler->rank == 1);
  CHECK(moe.straggler->share_ratio == 22.0 / 24);
  CHECK(moe.straggler->expert == 3);
  CHECK(moe.straggler->expert_load_ratio == 4);  // of its own instance
  REQUIRE(moe.rebalances.size() == 3);
  CHECK(moe.rebalances[0].instance == "0");
  CHECK(moe.rebalances[2].instance == "1");
  CHECK(moe.rebalances[2].step == 7);
  CHECK(moe.dispatch_estimated);
  CHECK(moe.sequence_epochs == 3);
}

TEST_CASE("what was not recorded, and how often a recording was used, is said") {
  MoeStats stats = four_steps();
  const auto json = [&] {
    return moe_json(Reported(stats, placed(2, 4, {{0, 1}, {2, 3}})).section).dump();
  };
  for (const char* key : {"prefill_rows", "dispatch\"", "sequence_epochs"})
    CHECK(json().find(key) == std::string::npos);
  stats.prefill_from_decode = stats.dispatch_estimated = true;
  stats.sequence_epochs = 3;
  CHECK(json().find(R"("prefill_rows":"from_decode")") != std::string::npos);
  CHECK(json().find(R"("dispatch":"estimated")") != std::string::npos);
  CHECK(json().find(R"("sequence_epochs":3)") != std::string::npos);
}

TEST_CASE("what the CPU computed is told where it may compute, and only there") {
  MoeStats stats = four_steps();
  for (MoeLayerStats& layer : stats.layers) {
    layer.tier.looked = 20;
    layer.tier.hits = 5;
    layer.tier.computed = 12;
    layer.tier.bytes = 300;
    layer.tier.cpu_ns = 8e6;
    layer.tier.demand_ns = 2e6;
  }
  HandMadeRun run;
  run.scenario.model = three_layers();
  run.scenario.offload = ExpertOffload{.policy = OffloadPolicy::kWholeLayers,
                                       .resident_fraction = 0.25,
                                       .compute = OffloadCompute::kCpu};
  RunView view = run.view();
  view.moe = {{0, stats, std::nullopt}};
  const MoeOffload offload = *make_moe(view)->offload;
  CHECK(offload.hit_ratio == 0.25);
  REQUIRE(offload.cpu.has_value());
  CHECK(offload.cpu->ratio == 0.6);
  CHECK(offload.cpu->ms_per_step == doctest::Approx(2 * 8.0 / 4));
  const std::string json = moe_json(*make_moe(view)).dump();
  CHECK(json.find(R"("policy":"whole_layers")") != std::string::npos);
  CHECK(json.find(R"("compute":"cpu","computed_on_cpu_ratio":0.6,"cpu_ms_per_step":4.0)") !=
        std::string::npos);
  run.scenario.offload->compute = OffloadCompute::kGpu;
  RunView copies = run.view();
  copies.moe = {{0, stats, std::nullopt}};
  CHECK(!make_moe(copies)->offload->cpu);
  CHECK(moe_json(*make_moe(copies)).dump().find("cpu") == std::string::npos);
}

TEST_CASE("a dense model has no section") {
  const HandMadeRun run;
  CHECK(!make_moe(run.view()).has_value());
}

TEST_CASE("experts that choose drop nothing; tokens that none of them chose are told") {
  MoeSection moe = Reported(four_steps(), placed(2, 4, {{0, 1}, {2, 3}})).section;
  moe.capacity_factor = 1;
  CHECK(moe_json(moe).dump().find("dropped_ratio") != std::string::npos);
  moe.experts_per_token_ratio = {0.25, 0.5, 0.25};
  const std::string chosen = moe_json(moe).dump();
  for (const char* key : {"dropped_ratio", "moved_ratio", "padding_ratio"})
    CHECK(chosen.find(key) == std::string::npos);
  CHECK(chosen.find("tokens_with_none_ratio") != std::string::npos);
}
