#include "sim/steptime/count_bank.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>
#include <vector>

#include "tests/sim/small_cluster.h"

using namespace moesim;

namespace {

using Counts = std::vector<std::uint32_t>;

double busiest(const Counts& counts) {
  return *std::max_element(counts.begin(), counts.end());
}

struct Moments {
  double sum = 0, squares = 0;
  int n = 0;
  void add(double value) {
    sum += value;
    squares += value * value;
    ++n;
  }
  [[nodiscard]] double mean() const { return sum / n; }
  [[nodiscard]] double variance() const { return squares / n - mean() * mean(); }
};

}  // namespace

TEST_CASE("every draw of every size gives each token top_k experts") {
  const auto routing = made<ExpertRouting>("uniform");
  for (const int experts : {8, 60, 128}) {
    CountBank bank(*routing, experts, 4, 1);
    Counts counts(static_cast<std::size_t>(experts), 7);
    // One digit, all digits, several of the largest block, the first size with a larger one.
    for (const int tokens : {1, 2, 255, 256, 511, 512, 2303, 2304, 5000}) {
      CAPTURE(tokens);
      Rng rng(3, "choice");
      const int draws = bank.most_draws(tokens);
      bank.choose(tokens, draws, rng);
      for (const int index : {0, 1, draws / 2, draws - 1}) {
        bank.draw(index, counts);
        CHECK(std::accumulate(counts.begin(), counts.end(), 0U) ==
              static_cast<std::uint32_t>(4 * tokens));
        CHECK(busiest(counts) <= tokens);
      }
    }
  }
}

TEST_CASE("counts beyond sixteen bits are whole") {
  const auto routing = made<ExpertRouting>("uniform");
  CountBank bank(*routing, 2, 2, 1);  // each token takes both
  Counts counts(2);
  Rng rng(3, "choice");
  for (const int tokens : {65'535, 65'536, 300'001}) {
    bank.choose(tokens, 64, rng);
    bank.draw(5, counts);
    CHECK(counts == Counts(2, static_cast<std::uint32_t>(tokens)));
  }
}

TEST_CASE("summed blocks are distributed as drawn tokens: one expert and the busiest") {
  // One expert gets a binomial number of T tokens with p = k/E. The busiest of 128 has no short
  // formula: compare with drawing.
  constexpr int kExperts = 128, kTopK = 8, kSeeds = 80, kPerSeed = 64;
  const auto routing = made<ExpertRouting>("uniform");
  Counts counts(kExperts);
  for (const int tokens : {1, 5, 100, 511, 777, 2304}) {
    CAPTURE(tokens);
    Moments one, most, drawn;
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      CountBank bank(*routing, kExperts, kTopK, seed);
      Rng rng(seed, "choice");
      bank.choose(tokens, 64, rng);
      for (int i = 0; i < kPerSeed; ++i) {
        bank.draw(i, counts);
        for (const std::uint32_t count : counts) one.add(count);
        most.add(busiest(counts));
      }
    }
    Rng rng(9, "drawn");
    for (int i = 0; i < 3000; ++i) {
      routing->draw(0, tokens, kTopK, rng, counts);
      drawn.add(busiest(counts));
    }
    const double p = double(kTopK) / kExperts;
    CHECK(one.mean() == doctest::Approx(tokens * p));
    CHECK(one.variance() == doctest::Approx(tokens * p * (1 - p)).epsilon(0.02));
    CHECK(most.mean() == doctest::Approx(drawn.mean()).epsilon(0.006));
    // A variance from 3000 draws has a standard error of about 3 %.
    if (tokens > 1) CHECK(most.variance() == doctest::Approx(drawn.variance()).epsilon(0.15));
  }
}

TEST_CASE("draws of one set are different draws") {
  // Uncorrelated counts of one expert: the mean of n draws has 1/n of a draw's variance; a few
  // common blocks above 512 tokens may add to it.
  const auto routing = made<ExpertRouting>("uniform");
  Counts counts(64);
  for (const int tokens : {100, 300, 1500}) {
    CAPTURE(tokens);
    Moments single, mean_of_8;
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
      CountBank bank(*routing, 64, 4, seed);
      Rng rng(seed, "choice");
      bank.choose(tokens, 64, rng);
      std::vector<double> sums(64);
      for (int i = 0; i < 8; ++i) {
        bank.draw(i, counts);
        for (std::size_t e = 0; e < 64; ++e) {
          sums[e] += counts[e] / 8.0;
          single.add(counts[e]);
        }
      }
      for (const double sum : sums) mean_of_8.add(sum);
    }
    const double ratio = 8 * mean_of_8.variance() / single.variance();
    CHECK(ratio > 0.9);
    CHECK(ratio < (tokens < 512 ? 1.1 : 1.5));
  }
}

TEST_CASE("few tokens may have more draws") {
  const auto routing = made<ExpertRouting>("uniform");
  const CountBank bank(*routing, 8, 2, 1);
  // 2^15 assignments of 2 a token, two blocks a draw: 2^13 / (largest block) draws.
  CHECK(bank.most_draws(1) == 512);
  CHECK(bank.most_draws(31) == 512);  // 2^13 / 16
  CHECK(bank.most_draws(32) == 256);
  CHECK(bank.most_draws(64) == 128);
  CHECK(bank.most_draws(128) == 64);
  CHECK(bank.most_draws(100'000) == 64);
}

TEST_CASE("draws do not depend on what was asked before") {
  const auto routing = made<ExpertRouting>("uniform");
  CountBank fresh(*routing, 16, 2, 4), used(*routing, 16, 2, 4);
  Counts a(16), b(16);
  Rng other(1, "other");
  used.choose(3000, 64, other);
  used.choose(6, 512, other);
  used.draw(2, b);
  for (CountBank* bank : {&fresh, &used}) {
    Rng rng(8, "choice");
    bank->choose(777, 64, rng);
  }
  fresh.draw(17, a);
  used.draw(17, b);
  CHECK(a == b);
}
