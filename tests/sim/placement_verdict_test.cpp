#include "sim/placement_verdict.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

namespace moesim {
namespace {

PlacementCandidate one(const std::string& name, double tokens_per_s, double tpot_ms,
                       bool keeps_up) {
  PlacementCandidate candidate;
  candidate.name = name;
  candidate.output_throughput = tokens_per_s;
  candidate.mean_tpot_ms = tpot_ms;
  candidate.mean_ttft_ms = 10 * tpot_ms;
  candidate.keeps_up = keeps_up;
  candidate.step_ms = 10;
  return candidate;
}

PlacementStudy judged(std::vector<PlacementCandidate> candidates, int step_interval = 0) {
  PlacementStudy study;
  study.candidates = std::move(candidates);
  choose(study);
  judge(study, step_interval);
  return study;
}

bool has(const PlacementStudy& study, const char* text) {
  return study.verdict.find(text) != std::string::npos;
}

TEST_CASE("a load that leaves capacity unused is judged by latency") {
  struct Case {
    const char* why;
    double tokens_per_s, tpot_ms;
    bool keeps_up, pays;
  };
  const Case cases[] = {
      {"the same throughput, much faster tokens", 1000, 15, true, true},
      {"less throughput is how the last requests end", 960, 18, true, true},
      {"more throughput is no more", 1040, 19.5, true, false},
      {"just above the threshold", 1000, 19.1, true, false},
      {"just below it", 1000, 18.9, true, true},
      {"faster tokens, but it falls behind", 1000, 15, false, false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const PlacementStudy study =
        judged({one("linear", 1000, 20, true), one("eplb", c.tokens_per_s, c.tpot_ms, c.keeps_up)});
    CHECK(study.pays == c.pays);
    CHECK(study.best == (c.pays ? 1 : 0));
    CHECK(study.judged_by == "mean_tpot_ms");
    CHECK(has(study,
              "Judged by time per token, which must fall by 5 %: the load leaves capacity "
              "unused, linear keeps up with it"));
    CHECK(has(study, "does not keep up") == !c.keeps_up);
    CHECK(study.verdict.starts_with(c.pays ? "EPLB pays: " : "EPLB does not pay: "));
  }
}

TEST_CASE("a load beyond capacity is judged by throughput, unless that is the same") {
  const PlacementStudy more = judged({one("linear", 1000, 20, false), one("eplb", 1100, 25, true)});
  CHECK(more.pays);
  CHECK(more.judged_by == "output_throughput");
  CHECK(has(more, "+10.0 % output tokens/s, +25.0 % time per token"));
  CHECK(has(more, "Judged by output tokens/s, which must rise by 1 %"));
  const PlacementStudy less = judged({one("linear", 1000, 20, false), one("eplb", 900, 10, false)});
  CHECK_FALSE(less.pays);
  CHECK(less.judged_by == "output_throughput");
  const PlacementStudy same =
      judged({one("linear", 1000, 20, false), one("eplb", 1005, 15, false)});
  CHECK(same.pays);
  CHECK(same.judged_by == "mean_tpot_ms");
  CHECK(has(same, "throughput differs by less than 1 %"));
}

TEST_CASE("the candidates compared are the best by what judges them") {
  // Copies slow the end of the run and speed up every token.
  const PlacementStudy idle = judged({one("linear", 1000, 20, true), one("eplb", 1000, 20, true),
                                      one("eplb", 960, 18, true), one("eplb", 900, 12, false)});
  CHECK(idle.eplb == 2);
  CHECK(idle.fixed == 0);
  const PlacementStudy full = judged({one("linear", 1000, 20, false), one("file", 1200, 22, false),
                                      one("eplb", 1500, 30, false), one("eplb", 1490, 20, false),
                                      one("eplb", 1400, 10, false)});
  CHECK(full.fixed == 1);
  CHECK(full.eplb == 3);  // within a percent of the most, the faster one
}

TEST_CASE("a prefill instance is judged by the first token, as are requests of one token") {
  PlacementCandidate linear = one("linear", 100, 20, true), eplb = one("eplb", 100, 15, true);
  linear.mean_tpot_ms = eplb.mean_tpot_ms = std::nullopt;
  CHECK(judged({linear, eplb}).judged_by == "mean_ttft_ms");
  PlacementStudy study;
  study.prefill = true;
  linear.input_throughput = 1000;
  eplb.input_throughput = 1200;
  linear.keeps_up = eplb.keeps_up = false;
  study.candidates = {linear, eplb};
  choose(study);
  judge(study, 0);
  CHECK(study.judged_by == "input_throughput");
  CHECK(has(study, "+20.0 % input tokens/s, -25.0 % time to the first token against linear"));
}

TEST_CASE("what moving takes is taken off, from either measure") {
  for (const bool keeps_up : {true, false}) {
    CAPTURE(keeps_up);
    PlacementCandidate eplb = one("eplb", keeps_up ? 1000 : 1100, 15, keeps_up);
    eplb.move_ms = 10;
    const PlacementCandidate linear = one("linear", 1000, 20, keeps_up);
    CHECK(judged({linear, eplb}, 1000).pays);
    CHECK_FALSE(judged({linear, eplb}, 1).pays);  // half of the time
  }
}

TEST_CASE("what it would be worth at saturation is said beside the verdict") {
  PlacementCandidate linear = one("linear", 1000, 20, true), eplb = one("eplb", 1000, 19.9, true);
  linear.saturated_throughput = 1500;
  eplb.saturated_throughput = 2400;
  CHECK(has(judged({linear, eplb}),
            "With all requests there at once: +60.0 % output tokens/s (1500 to 2400), where EPLB "
            "would pay"));
  eplb.saturated_throughput = 1500;
  CHECK(judged({linear, eplb}).verdict.ends_with("+0.0 % output tokens/s (1500 to 1500)"));
}

TEST_CASE("a placement that does not fit is no candidate") {
  PlacementCandidate eplb = one("eplb", 2000, 5, true);
  eplb.infeasible = "the weights do not fit";
  const PlacementStudy study = judged({one("linear", 1000, 20, true), eplb});
  CHECK_FALSE(study.eplb);
  CHECK(study.best == 0);
  CHECK(study.verdict == "EPLB cannot be compared: a placement does not fit");
}

}  // namespace
}  // namespace moesim
