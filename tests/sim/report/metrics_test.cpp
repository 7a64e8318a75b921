#include "sim/report/metrics.h"

#include <cmath>
#include <doctest/doctest.h>
#include <numeric>

#include "report_support.h"

using namespace moesim;
using doctest::Approx;

namespace {

TermTimes terms_of(double attention_ns, double expert_ns, double overlapped_ns = 0) {
  TermTimes terms{};
  terms[static_cast<std::size_t>(Term::kAttention)] = attention_ns;
  terms[static_cast<std::size_t>(Term::kExpertGemm)] = expert_ns;
  terms[static_cast<std::size_t>(Term::kOverlapped)] = overlapped_ns;
  return terms;
}

}  // namespace

TEST_CASE("a breakdown is the mean step of its phase") {
  Metrics metrics(1, 0, 0);
  const TermTimes first = terms_of(1e6, 2e6);
  const TermTimes second = terms_of(3e6, 2e6);
  metrics.step(hand_made_step(0, 0, 3, first));
  StepRecord step = hand_made_step(1, 4, 9, second);
  step.gap = ms(1);
  metrics.step(step);
  StepRecord prefill = hand_made_step(2, 9, 12, first);
  prefill.phase = Phase::kPrefill;
  metrics.step(prefill);
  const std::vector<PhaseBreakdown> phases = phase_breakdowns(metrics);
  REQUIRE(phases.size() == 2);
  CHECK(phases[0].phase == "prefill");
  CHECK(phases[1].phase == "decode");
  CHECK(phases[1].steps == 2);
  CHECK(phases[1].step_time_ms == Approx(4));
  CHECK(phases[1].term_ms[static_cast<std::size_t>(Term::kAttention)] == Approx(2));
  CHECK(phases[1].term_ms[static_cast<std::size_t>(Term::kExpertGemm)] == Approx(2));
  CHECK(phases[1].cpu_gap_ms == Approx(0.5));
  CHECK(phases[1].time_share == Approx(8.0 / 11));
}

TEST_CASE("printed terms add up to the printed step time, whatever the digits") {
  Rng rng(7, "metrics_test");
  for (int round = 0; round < 200; ++round) {
    Metrics metrics(1, 0, 0);
    TermTimes terms{};
    for (double& term : terms) term = std::exp(rng.uniform() * 20);
    terms[static_cast<std::size_t>(Term::kOverlapped)] *= -1e-3;
    metrics.step(hand_made_step(0, 0, 1, terms));
    const PhaseBreakdown phase = phase_breakdowns(metrics).front();
    // In units of the sixth digit everything is whole.
    const double grid = std::pow(10.0, std::floor(std::log10(phase.step_time_ms)) - 5);
    double sum = 0;
    for (const double term : phase.term_ms) {
      CHECK(std::abs(term / grid - std::round(term / grid)) < 1e-6);
      sum += std::round(term / grid);
    }
    CHECK(sum == std::round(phase.step_time_ms / grid));
    const double exact = std::accumulate(terms.begin(), terms.end(), 0.0) * 1e-6;
    CHECK(phase.step_time_ms == Approx(exact).epsilon(1e-5));
  }
}

TEST_CASE("means over time count a wait between steps but not idle time") {
  const TermTimes terms = terms_of(1, 1);
  Metrics metrics(1, 0, 0);
  metrics.step(hand_made_step(0, 0, 10, terms));  // 10 ms with 4 running
  StepRecord step = hand_made_step(1, 12, 20, terms);
  step.scheduled = ms(5);  // asynchronous: decided before the first was out
  metrics.step(step);      // 10 ms since the last tokens
  metrics.step(hand_made_step(2, 100, 110, terms));  // woken at 100: 10 ms
  CHECK(metrics.totals(0).running_ns == Approx(4 * 30e6));
  CHECK(metrics.totals(0).kv_block_ns == Approx(10 * 30e6));
  CHECK(metrics.totals(0).busy_ns == ms(28));
}

TEST_CASE("steps of the warm-up are left out, and their gaps") {
  const TermTimes terms = terms_of(1, 1);
  Metrics metrics(1, ms(15), ms(15));
  metrics.step(hand_made_step(0, 0, 10, terms));
  metrics.inter_token({0}, ms(10), 3);
  metrics.step(hand_made_step(1, 10, 20, terms));
  metrics.inter_token({0}, ms(12), 4);
  CHECK(metrics.phase(Phase::kDecode).steps == 1);
  CHECK(metrics.gaps(0).count() == 4);
  CHECK(metrics.max_output_tokens_per_s() == 4);
}

TEST_CASE("output tokens of all instances are counted by the second") {
  const TermTimes terms = terms_of(1, 1);
  Metrics metrics(2, 0, 0);
  StepRecord other = hand_made_step(0, 0, 1500, terms);
  other.instance = {1};
  metrics.step(hand_made_step(0, 0, 900, terms));      // 4 tokens in second 0
  metrics.step(hand_made_step(1, 900, 1100, terms));   // 4 in second 1
  metrics.step(hand_made_step(2, 1100, 1999, terms));  // 4 in second 1
  metrics.step(other);                                 // 4 in second 1
  CHECK(metrics.max_output_tokens_per_s() == 12);
}

TEST_CASE("instances are merged in their order") {
  const TermTimes small = terms_of(1e6, 0);
  const TermTimes large = terms_of(3e6, 0);
  Metrics metrics(2, 0, 0);
  StepRecord step = hand_made_step(0, 0, 3, large);
  step.instance = {1};
  metrics.step(step);
  metrics.inter_token({1}, 300, 2);
  metrics.step(hand_made_step(0, 0, 1, small));
  metrics.inter_token({0}, 100, 1);
  CHECK(metrics.phase(Phase::kDecode).steps == 2);
  CHECK(metrics.phase(Phase::kDecode).terms[0] == Approx(4e6));
  CHECK(metrics.all_gaps().count() == 3);
  CHECK(metrics.all_gaps().summary().max == Approx(300));
}

TEST_CASE(
    "the seconds of the peak begin with the first request that counts, not with a think time") {
  HandMadeRun run;
  run.scenario.workload.warmup_s = 1;
  run.workload.arrival_ns = {0, ms(1700), ms(1500), ms(2600)};
  run.workload.predecessor = {kNoRequest, kNoRequest, 0, kNoRequest};
  Metrics metrics(1, run.scenario, run.workload);
  const TermTimes terms{};
  metrics.step(hand_made_step(0, 1700, 1900, terms));  // 4 tokens in the second from 1.7 s
  metrics.step(hand_made_step(1, 1900, 2650, terms));  // 4 in the same
  metrics.step(hand_made_step(2, 2650, 2750, terms));  // 4 in the next
  CHECK(metrics.max_output_tokens_per_s() == 8);
}
