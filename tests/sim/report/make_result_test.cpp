#include <algorithm>
#include <doctest/doctest.h>
#include <string>

#include "report_support.h"

using namespace moesim;
using doctest::Approx;

namespace {

bool mentions(const std::vector<std::string>& lines, const std::string& text) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& line) { return line.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("rates are of the counted requests over the run's duration") {
  HandMadeRun run(2);
  run.scenario.slo.ttft_ms = 50;
  run.complete({0, 0, 40, 540}, 100, 11, 0);
  run.complete({1000, 1000, 1060, 2000}, 200, 21, 1);
  const RunResult result = run.result();
  CHECK(result.summary.duration == Approx(2));
  CHECK(*result.summary.request_throughput == Approx(1));
  CHECK(*result.summary.output_throughput == Approx(16));
  CHECK(*result.summary.total_token_throughput == Approx(166));
  CHECK(*result.summary.output_throughput_per_gpu == Approx(8));
  CHECK(*result.summary.gpu_hours == Approx(2 * 2.0 / 3600));
  CHECK(*result.summary.request_goodput == Approx(0.5));
  // TPOT 50 and 47 ms: 20 and 21.2766 tokens per second and user.
  CHECK(*result.summary.output_token_throughput_per_user == Approx((20 + 1000.0 / 47) / 2));
  CHECK(result.slo->attainment_ratio == Approx(0.5));
  REQUIRE(result.instance_throughput.size() == 2);
  CHECK(result.instance_throughput[1].output_tokens_per_s == Approx(10.5));
}

TEST_CASE("cost counts the GPUs in use, if all have a price") {
  HandMadeRun run(2);
  run.complete({0, 0, 1, 3'600'000}, 1, 1000);
  CHECK_FALSE(run.result().cost);
  run.scenario.gpu_hour_usd = {{"h100_sxm", 3}};
  CHECK_FALSE(run.result().cost);
  run.scenario.gpu_hour_usd = {{"a100_sxm", 1.8}};
  const CostSection cost = *run.result().cost;
  CHECK(cost.usd_per_hour == Approx(3.6));
  CHECK(*cost.usd_total == Approx(3.6));
  CHECK(*cost.usd_per_million_output_tokens == Approx(3600));
}

TEST_CASE("utilisation is time weighted, by instance and together") {
  HandMadeRun run(2);
  run.complete({0, 0, 10, 100}, 1, 2);
  run.totals[0].kv_blocks_peak = 40;
  run.totals[0].preemptions = 3;
  TermTimes terms{};
  Metrics metrics(2, 0, 0);
  metrics.step(hand_made_step(0, 0, 50, terms));  // half the run, 4 running, 10 of 100 blocks
  const UtilizationSection u = run.result(metrics).utilization;
  CHECK(u.instances[0].busy_ratio == Approx(0.5));
  CHECK(u.busy_ratio == Approx(0.25));
  CHECK(u.running_mean == Approx(2));
  CHECK(*u.instances[0].kv_usage_mean_ratio == Approx(0.05));
  CHECK(*u.kv_usage_peak_ratio == Approx(0.4));
  CHECK(*u.batch_mean == Approx(4));
  CHECK(u.preemptions == 3);
  CHECK_FALSE(u.prefix_cache_hit_ratio);
}

TEST_CASE("a pipeline stage is busy for its share of a step") {
  HandMadeRun run(1);
  run.deployment.instances[0].parallel.pp = 2;
  run.complete({0, 0, 10, 100}, 1, 2);
  TermTimes terms{};
  Metrics metrics(1, 0, 0);
  metrics.step(hand_made_step(0, 0, 100, terms));
  CHECK(run.result(metrics).utilization.busy_ratio == Approx(0.5));
}

TEST_CASE("prefix hits are told where prompts have identities and are cached") {
  HandMadeRun run(1);
  run.complete({0, 0, 10, 100}, 1, 2);
  run.totals[0].prefix_query_tokens = 200;
  run.totals[0].prefix_hit_tokens = 50;
  CHECK_FALSE(run.result().utilization.prefix_cache_hit_ratio);
  run.workload.chain = {{0, 1}};
  CHECK(*run.result().utilization.prefix_cache_hit_ratio == Approx(0.25));
  run.deployment.instances[0].engine.enable_prefix_caching = false;
  CHECK_FALSE(run.result().utilization.prefix_cache_hit_ratio);
}

TEST_CASE("provenance shares add up to one") {
  HandMadeRun run;
  run.complete({0, 0, 1, 2}, 1, 2);
  const auto shares = run.result().provenance;
  REQUIRE(shares.size() == 2);
  CHECK(shares[0].first == "roofline");
  CHECK(shares[0].second == Approx(0.75));
  CHECK(shares[1].first == "assumed");
  CHECK(shares[1].second == Approx(0.25));
}

TEST_CASE("a target for gaps is judged by gaps, and says nothing of requests") {
  HandMadeRun run;
  run.scenario.slo.itl_ms = 30;
  run.complete({0, 0, 1, 2}, 1, 2);
  Metrics metrics(1, 0, 0);
  StepRecord step;
  step.instance = InstanceId{0};
  metrics.step(step);
  metrics.inter_token(InstanceId{0}, 10'000'000, 3);
  metrics.inter_token(InstanceId{0}, 90'000'000, 1);
  const RunResult result = make_result(run.view(), metrics, {});
  REQUIRE(result.slo);
  CHECK(result.slo->itl_attainment_ratio == 0.75);
  CHECK_FALSE(result.slo->attainment_ratio);
  CHECK_FALSE(result.summary.request_goodput);
}

TEST_CASE("warnings say what the figures leave out") {
  HandMadeRun run;
  run.scenario.warnings = {"one", "two", "one"};
  run.scenario.workload.warmup_s = 1;
  run.complete({0, 0, 1, 2}, 1, 2);
  run.complete({2000, 2000, 2001, 2002}, 1, 2);
  const std::vector<std::string> warnings = run.result().warnings;
  CHECK(std::count(warnings.begin(), warnings.end(), "one") == 1);
  CHECK_FALSE(mentions(warnings, "no expert got hot"));
  run.scenario.routing.hot_from_s = 1e6;
  CHECK(mentions(run.result().warnings, "no expert got hot: from_s is 1e+06 s, and the run ends"));
  CHECK(mentions(warnings, "1 requests that arrived before warmup_s"));
  RunView view = run.view();
  view.interrupted = true;
  CHECK(mentions(make_result(view, Metrics(1, 0, 0), {}).warnings, "interrupted after"));
}

TEST_CASE("the table on standard output fits a screen and starts with the answer") {
  HandMadeRun run(2);
  run.scenario.slo.ttft_ms = 50;
  run.scenario.gpu_hour_usd = {{"a100_sxm", 1.8}};
  for (int i = 0; i < 10; ++i) run.scenario.warnings.push_back("warning " + std::to_string(i));
  for (int i = 0; i < 30; ++i)
    run.complete({100.0 * i, 100.0 * i, 100.0 * i + 40, 100.0 * i + 300}, 9, 9);
  TermTimes terms{};
  terms.fill(1e5);
  Metrics metrics(2, 0, 0);
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode, Phase::kMixed}) {
    StepRecord step = hand_made_step(0, 0, 2, terms);
    step.phase = phase;
    metrics.step(step);
  }
  const std::string text = text_of(run.result(metrics));
  CHECK(std::count(text.begin(), text.end(), '\n') <= 45);
  CHECK(
      text.starts_with("hand-made: test/small-moe, vllm 0.21 on 2 x a100_sxm, 2 engines of TP1\n"));
  CHECK(text.find("30 completed, 0 failed in 3.20 s") != std::string::npos);
  CHECK(text.find("100 % of requests within TTFT 50 ms") != std::string::npos);
  CHECK(text.find("and 5 more") != std::string::npos);
}
