#include "sim/report/timeline.h"

#include <array>
#include <doctest/doctest.h>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "report_support.h"

using namespace moesim;
using nlohmann::json;

namespace {

json trace_of(const Timeline& timeline) {
  std::ostringstream out;
  timeline.write(out);
  return json::parse(out.str());
}

std::vector<json> events_of(const json& trace, const std::string& phase) {
  std::vector<json> result;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] == phase) result.push_back(event);
  }
  return result;
}

TermTimes two_terms() {
  TermTimes terms{};
  terms[static_cast<std::size_t>(Term::kAttention)] = 1e6;
  terms[static_cast<std::size_t>(Term::kExpertGemm)] = 2e6;
  return terms;
}

}  // namespace

TEST_CASE("a step stands on every rank, its terms inside it") {
  HandMadeRun run;
  run.deployment.instances[0].parallel.tp = 2;
  run.deployment.instances[0].gpus = {4, 5};
  Metrics metrics(1, 0, 0);
  Timeline timeline(run.scenario.model, run.deployment, metrics);
  const TermTimes terms = two_terms();
  timeline.step(hand_made_step(0, 5, 8, terms));
  CHECK(metrics.phase(Phase::kDecode).steps == 1);  // passed on
  const json trace = trace_of(timeline);
  const std::vector<json> spans = events_of(trace, "X");
  REQUIRE(spans.size() == 2 * 3 + 1);
  CHECK(spans[0] ==
        json::parse(R"({"ph": "X", "pid": 0, "tid": 0, "name": "decode", "cat": "step_time",
      "ts": 5000, "dur": 3000, "args": {"step": 0, "layer": "0-1", "tokens": 4, "padded_tokens": 0,
      "sequences": 4}})"));
  CHECK(spans[1] == json::parse(R"({"ph": "X", "pid": 0, "tid": 0, "name": "attention",
      "cat": "attention", "ts": 5000, "dur": 1000,
      "args": {"step": 0, "layer": "0-1", "tokens": 4}})"));
  CHECK(spans[2]["cat"] == "expert_gemm");
  CHECK(spans[2]["ts"] == 6000);
  CHECK(spans[3]["tid"] == 1);
  CHECK(spans[6]["cat"] == "cpu_gap");
  CHECK(events_of(trace, "C").size() == 2);
  const std::vector<json> names = events_of(trace, "M");
  REQUIRE(names.size() == 4);
  CHECK(names[0]["args"]["name"] == "instance 0");
  CHECK(names[1]["args"]["name"] == "rank 0 (GPU 4)");
  CHECK(names[3]["args"]["name"] == "host");
}

TEST_CASE("ranks of experts have a counter of the fullest one, and only they") {
  HandMadeRun run;
  Metrics metrics(1, 0, 0);
  Timeline timeline(run.scenario.model, run.deployment, metrics);
  const TermTimes terms = two_terms();
  StepRecord step = hand_made_step(0, 5, 8, terms);
  timeline.step(step);
  step.step = 1;
  step.rank_imbalance = 1.25;
  timeline.step(step);
  const std::vector<json> counters = events_of(trace_of(timeline), "C");
  REQUIRE(counters.size() == 5);
  CHECK(counters[4]["name"] == "fullest expert rank");
  CHECK(counters[4]["args"] == json::parse(R"({"times the mean": 1.25})"));
  CHECK(counters[4]["ts"] == counters[3]["ts"]);
}

TEST_CASE("pipeline stages follow one another; a step may wait between them") {
  HandMadeRun run;
  run.deployment.instances[0].parallel.pp = 2;
  Metrics metrics(1, 0, 0);
  Timeline timeline(run.scenario.model, run.deployment, metrics);
  const TermTimes terms = two_terms();
  StageSpan stages[] = {{0, ms(1)}, {ms(4), ms(6)}};
  StepRecord step = hand_made_step(0, 0, 6, terms);
  step.stages = stages;
  timeline.step(step);
  stages[0] = stages[1] = {ms(90), ms(91)};  // of another step by now
  CHECK(metrics.totals(0).busy_ns == ms(3));
  const std::vector<json> spans = events_of(trace_of(timeline), "X");
  CHECK(spans[0]["dur"] == 1000);
  CHECK(spans[3]["tid"] == 1);
  CHECK(spans[3]["ts"] == 4000);
  CHECK(spans[3]["dur"] == 2000);
  CHECK(spans[0]["args"]["layer"] == "0");  // two layers, one a stage
  CHECK(spans[3]["args"]["layer"] == "1");
}

TEST_CASE("a term says what it sends and where its time came from, if the step leaves no doubt") {
  HandMadeRun run;
  run.deployment.instances[0].parallel.tp = 2;
  Metrics metrics(1, 0, 0);
  Timeline timeline(run.scenario.model, run.deployment, metrics);
  TermTimes terms = two_terms();
  terms[static_cast<std::size_t>(Term::kAllReduce)] = 1e6;
  terms[static_cast<std::size_t>(Term::kLaunchOverhead)] = 4e6;
  std::array<double, kProvenanceCount> times{};
  times[static_cast<std::size_t>(Provenance::kRoofline)] = 4e6;
  times[static_cast<std::size_t>(Provenance::kAssumed)] = 4e6;
  StepRecord step = hand_made_step(0, 0, 8, terms);
  step.provenance_ns = &times;
  step.padded_tokens = 8;
  step.sampled_rows = 4;
  timeline.step(step);
  times[static_cast<std::size_t>(Provenance::kMeasured)] = 2e6;
  times[static_cast<std::size_t>(Provenance::kRoofline)] = 2e6;
  step.step = 1;
  timeline.step(step);
  std::map<std::pair<int, std::string>, json> args;
  for (const json& span : events_of(trace_of(timeline), "X"))
    args[{span["args"]["step"].get<int>(), span["cat"].get<std::string>()}] = span["args"];

  CHECK(args[{0, "step_time"}]["provenance"] ==
        json::parse(R"({"roofline": 0.5, "assumed": 0.5})"));
  CHECK(args[{0, "attention"}]["provenance"] == "roofline");
  CHECK(args[{0, "launch_overhead"}]["provenance"] == "assumed");
  CHECK_FALSE(args[{0, "launch_overhead"}].contains("layer"));
  CHECK_FALSE(args[{0, "attention"}].contains("bytes"));
  // 8 padded tokens of 64 16-bit values after the embedding and twice in each of 2 layers: 5 x
  // 1024; logits of 4 rows x 128 gathered from 2 ranks: 512, as all-reduce bytes.
  CHECK(args[{0, "all_reduce"}]["bytes"] == 5 * 1024 + 512);
  CHECK(args[{1, "step_time"}]["provenance"] ==
        json::parse(R"({"measured": 0.25, "roofline": 0.25, "assumed": 0.5})"));
  CHECK_FALSE(args[{1, "attention"}].contains("provenance"));
  CHECK(args[{1, "launch_overhead"}]["provenance"] == "assumed");
}

TEST_CASE("terms never leave their step, even with overlap") {
  HandMadeRun run;
  Metrics metrics(1, 0, 0);
  Timeline timeline(run.scenario.model, run.deployment, metrics);
  TermTimes terms = two_terms();
  terms[static_cast<std::size_t>(Term::kOverlapped)] = -1.5e6;
  timeline.step(hand_made_step(0, 0, 1.5, terms));
  for (const json& span : events_of(trace_of(timeline), "X"))
    CHECK(span["ts"].get<double>() + span["dur"].get<double>() <= 1500);
}

TEST_CASE("beyond its bound a trace drops steps and says how many") {
  HandMadeRun run(2);
  Metrics metrics(2, 0, 0);
  Timeline timeline(run.scenario.model, run.deployment, metrics,
                    100);  // 14 events a step: 3 steps an instance
  const TermTimes terms = two_terms();
  for (std::uint64_t i = 0; i < 10; ++i) {
    const auto at = static_cast<double>(i);
    timeline.step(hand_made_step(i, at, at + 1, terms));
  }
  CHECK(timeline.dropped_steps() == 7);
  const json trace = trace_of(timeline);
  CHECK(trace["otherData"]["dropped_steps"] == 7);
  CHECK(trace["traceEvents"].size() <= 100);
  CHECK(metrics.phase(Phase::kDecode).steps == 10);
}

TEST_CASE("a preemption is a mark on the host's track") {
  HandMadeRun run;
  Metrics metrics(1, 0, 0);
  Timeline timeline(run.scenario.model, run.deployment, metrics);
  timeline.preempted({0}, {17}, ms(3));
  const std::vector<json> marks = events_of(trace_of(timeline), "i");
  REQUIRE(marks.size() == 1);
  CHECK(marks[0]["args"]["request"] == 17);
  CHECK(marks[0]["ts"] == 3000);
}
