#include "scenarios/load_drift.h"

#include <cmath>
#include <doctest/doctest.h>
#include <vector>

#include "tests/scenarios/expert_routing/expert_routing_support.h"

using namespace moesim;

namespace {

constexpr int kExperts = 4000;  // a correlation of so many is known to 0.016

std::vector<double> scores_at(LoadDrift::Kind kind, std::uint64_t epoch) {
  return LoadDrift{kind, 80}.scores(normal_scores(kExperts, 5, 3), 5, 3, epoch);
}

void check_standard_normal(const std::vector<double>& scores) {
  double squares = 0;
  for (const double x : scores) squares += x * x;
  CHECK(std::abs(mean(scores)) < 0.064);
  CHECK(squares / kExperts == doctest::Approx(1).epsilon(0.09));
}

}  // namespace

TEST_CASE("ar1 keeps half of the correlation for every half-life, from any start") {
  CHECK(LoadDrift{LoadDrift::Kind::kAr1, 80}.epoch_s() == 10);
  const auto first = scores_at(LoadDrift::Kind::kAr1, 0);
  CHECK(first == normal_scores(kExperts, 5, 3));
  for (const std::uint64_t start : {0U, 40U, 100U, 1000U}) {
    CAPTURE(start);
    const auto from = scores_at(LoadDrift::Kind::kAr1, start);
    check_standard_normal(from);
    CHECK(correlation(from, scores_at(LoadDrift::Kind::kAr1, start + 8)) ==
          doctest::Approx(0.5).epsilon(0.13));
    CHECK(correlation(from, scores_at(LoadDrift::Kind::kAr1, start + 16)) ==
          doctest::Approx(0.25).epsilon(0.26));
  }
}

TEST_CASE("rotation: half at a half-life, opposite after three, back after six") {
  const auto first = scores_at(LoadDrift::Kind::kRotation, 0);
  CHECK(correlation(first, scores_at(LoadDrift::Kind::kRotation, 8)) ==
        doctest::Approx(0.5).epsilon(0.1));
  CHECK(correlation(first, scores_at(LoadDrift::Kind::kRotation, 24)) == doctest::Approx(-1));
  CHECK(scores_at(LoadDrift::Kind::kRotation, 48) == first);
  check_standard_normal(scores_at(LoadDrift::Kind::kRotation, 13));
}

TEST_CASE("step: nothing is left after each half-life") {
  CHECK(LoadDrift{LoadDrift::Kind::kStep, 80}.epoch_s() == 80);
  const auto one = scores_at(LoadDrift::Kind::kStep, 1);
  check_standard_normal(one);
  CHECK(std::abs(correlation(scores_at(LoadDrift::Kind::kStep, 0), one)) < 0.064);
  CHECK(std::abs(correlation(one, scores_at(LoadDrift::Kind::kStep, 2))) < 0.064);
}

TEST_CASE("layers drift apart") {
  const LoadDrift drift{LoadDrift::Kind::kStep, 80};
  const auto three = drift.scores(normal_scores(kExperts, 5, 3), 5, 3, 1);
  const auto four = drift.scores(normal_scores(kExperts, 5, 4), 5, 4, 1);
  CHECK(std::abs(correlation(three, four)) < 0.064);
}

TEST_CASE("values go to experts by the rank of their scores") {
  CHECK(given_by_rank({1, 9, 4}, {-0.5, 0.2, 3}) == std::vector<double>{1, 4, 9});
}
