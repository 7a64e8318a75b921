#include "sim/validation/rank_correlation.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

using namespace moesim;

namespace {

ComparedValue point(const std::string& model, double measured, double predicted) {
  ComparedValue value;
  value.id = "x";
  value.metric = "output_tok_s";
  value.model = "org/" + model;
  value.gpu = "h100_sxm";
  value.measured = measured;
  value.predicted = predicted;
  return value;
}

}  // namespace

TEST_CASE("Spearman's correlation is of order, not of size") {
  struct Case {
    const char* why;
    std::vector<double> a, b;
    double expect;
  };
  const Case cases[] = {
      {"the same order, however far apart", {1, 2, 3}, {1, 100, 10000}, 1},
      {"turned round", {1, 2, 3}, {9, 8, 7}, -1},
      {"1 - 6 x (0 + 1 + 1) / (3 x 8)", {1, 2, 3}, {1, 3, 2}, 0.5},
      {"ties share a rank: ranks 0.5 0.5 2 against 0 1 2", {4, 4, 9}, {1, 2, 3}, 0.8660254},
      {"no order at all", {5, 5, 5}, {1, 2, 3}, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    CHECK(spearman(c.a, c.b) == doctest::Approx(c.expect));
  }
}

TEST_CASE("rank correlations by model and GPU, then pooled; a row left out counts nowhere") {
  std::vector<ComparedValue> rows = {point("A", 10, 1), point("A", 20, 2), point("A", 30, 3),
                                     point("B", 1, 5),  point("B", 2, 4),  point("A", 40, 0)};
  rows.back().left_out = "odd";
  ComparedValue latency = point("A", 5, 5);
  latency.metric = "ttft_mean";
  rows.push_back(latency);
  const std::vector<RankCorrelation> ranks = rank_correlations(rows);
  REQUIRE(ranks.size() == 2);  // B has two points only
  CHECK(ranks[0].name == "A/h100_sxm");
  CHECK(ranks[0].n == 3);
  CHECK(ranks[0].spearman == doctest::Approx(1));
  CHECK(ranks[1].name == "pooled");
  CHECK(ranks[1].n == 5);
  CHECK(ranks[1].spearman == doctest::Approx(-0.6));  // d = 2 2 2 -4 -2: 1 - 6 x 32 / 120
}
