#include "sim/base/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <doctest/doctest.h>
#include <set>
#include <string>
#include <vector>

using namespace moesim;

// Known answers come from an independent implementation in Python (same papers), not from this
// code.

TEST_CASE("mix64 with the golden step is SplitMix64") {
  // First outputs of splitmix64.c for seed 0 (S. Vigna, prng.di.unimi.it).
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;
  CHECK(mix64(kGolden) == 0xe220a8397b1dcdafULL);
  CHECK(mix64(2 * kGolden) == 0x6e789e6aa1b965f4ULL);
  CHECK(mix64(3 * kGolden) == 0x06c45d188009454fULL);
}

TEST_CASE("a stream is fixed by seed, name and index") {
  struct Case {
    std::string why;
    std::uint64_t seed;
    const char* name;
    std::uint64_t index;
    std::array<std::uint64_t, 3> expect;
  };
  const Case cases[] = {
      {"usual",
       1,
       "arrivals",
       0,
       {0x718f23fffc7ef15eULL, 0x825fda591c2d5451ULL, 0x518494673c8735dfULL}},
      {"another index",
       1,
       "arrivals",
       1,
       {0x2f08dc4d3d6ad336ULL, 0xf5309c4aad5dd0d0ULL, 0xb5b9e0edd9f7164eULL}},
      {"another seed",
       2,
       "arrivals",
       0,
       {0x69f51ef6b0efb368ULL, 0xde8879ae45731e0cULL, 0x2c1c2d7d8488aafdULL}},
      {"all zero is no special case",
       0,
       "",
       0,
       {0x339779176bd37759ULL, 0x27fb421ae5ad3cd0ULL, 0x878ee477f7814939ULL}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    Rng rng(c.seed, c.name, c.index);
    for (const std::uint64_t expect : c.expect) CHECK(rng.next() == expect);
  }
}

TEST_CASE("samplers give known answers") {
  Rng uniform(1, "arrivals");
  CHECK(uniform.uniform() == 0.4435904025999624);
  CHECK(uniform.uniform() == 0.5092750995210527);
  Rng small(1, "b");
  for (const std::uint32_t expect : {5U, 9U, 0U, 2U, 2U, 6U, 9U, 6U, 0U, 2U}) {
    CHECK(small.below(10) == expect);
  }
  for (const std::uint32_t expect : {1134745924U, 1030531870U, 2588184430U, 143767529U}) {
    CHECK(small.below(3'000'000'000U) == expect);
  }
  // These pass through libm, which may differ in the last bit between C libraries.
  const auto near = [](double value) { return doctest::Approx(value).epsilon(1e-14); };
  Rng exponential(1, "e");
  CHECK(exponential.exponential() == near(0.4880993535374093));
  CHECK(exponential.exponential() == near(0.777974548780456));
  Rng normal(1, "n");
  CHECK(normal.normal() == near(1.233273290037946));
  CHECK(normal.normal() == near(0.40867216379213084));
  CHECK(normal.normal() == near(0.7484923101778657));
  Rng gamma(1, "g");
  CHECK(gamma.gamma(2.5) == near(2.5827149363135216));
  CHECK(gamma.gamma(2.5) == near(3.570099166724328));
  Rng below_one(1, "g");
  CHECK(below_one.gamma(0.25) == near(0.01851578220306776));
  CHECK(below_one.gamma(0.25) == near(0.2188674489460303));
}

TEST_CASE("streams that differ in any part share nothing") {
  std::set<std::uint64_t> first;
  int streams = 0;
  for (const char* name : {"", "a", "b", "aa", "ab", "arrivals", "arrival"}) {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      for (std::uint64_t index = 0; index < 10; ++index) {
        first.insert(Rng(seed, name, index).next());
        ++streams;
      }
    }
  }
  CHECK(first.size() == static_cast<std::size_t>(streams));
}

TEST_CASE("neighbouring streams are uncorrelated") {
  // Correlation of n uniform pairs is about N(0, 1/n); 5 standard deviations.
  constexpr int kCount = 20'000;
  for (std::uint64_t index = 0; index < 4; ++index) {
    Rng a(1, "stream", index);
    Rng b(1, "stream", index + 1);
    double product = 0;
    for (int i = 0; i < kCount; ++i) product += (a.uniform() - 0.5) * (b.uniform() - 0.5);
    CHECK(std::abs(product / kCount * 12) < 5 / std::sqrt(kCount));
  }
}

TEST_CASE("uniform numbers lie in [0, 1)") {
  Rng rng(1, "range");
  double low = 1, high = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double x = rng.uniform();
    low = std::min(low, x);
    high = std::max(high, x);
  }
  CHECK(low >= 0);
  CHECK(low < 1e-3);
  CHECK(high < 1);
  CHECK(high > 1 - 1e-3);
}

TEST_CASE("samplers have the moments of their distribution") {
  struct Case {
    std::string why;
    double (*draw)(Rng&);
    double mean, variance, fourth;  ///< `fourth` is the fourth central moment
  };
  const Case cases[] = {
      {"uniform", [](Rng& r) { return r.uniform(); }, 0.5, 1.0 / 12, 1.0 / 80},
      {"normal", [](Rng& r) { return r.normal(); }, 0, 1, 3},
      {"exponential", [](Rng& r) { return r.exponential(); }, 1, 1, 9},
      // Gamma with shape k: variance k, fourth central moment 3 k^2 + 6 k.
      {"gamma below 1", [](Rng& r) { return r.gamma(0.5); }, 0.5, 0.5, 3.75},
      {"gamma 1 is exponential", [](Rng& r) { return r.gamma(1); }, 1, 1, 9},
      {"gamma above 1", [](Rng& r) { return r.gamma(4); }, 4, 4, 72},
  };
  constexpr int kCount = 50'000;
  for (const Case& c : cases) {
    CAPTURE(c.why);
    Rng rng(1, c.why);
    double sum = 0, squares = 0;
    for (int i = 0; i < kCount; ++i) {
      const double x = c.draw(rng) - c.mean;
      sum += x;
      squares += x * x;
    }
    // Five standard errors of the mean and of the variance.
    CHECK(std::abs(sum / kCount) < 5 * std::sqrt(c.variance / kCount));
    CHECK(std::abs(squares / kCount - c.variance) <
          5 * std::sqrt((c.fourth - c.variance * c.variance) / kCount));
  }
}

TEST_CASE("a normal variable has the tails of a normal variable") {
  Rng rng(1, "tails");
  constexpr int kCount = 50'000;
  int within_one = 0, beyond_two = 0;
  for (int i = 0; i < kCount; ++i) {
    const double x = std::abs(rng.normal());
    within_one += x < 1 ? 1 : 0;
    beyond_two += x > 2 ? 1 : 0;
  }
  CHECK(within_one / double{kCount} == doctest::Approx(0.682689).epsilon(0.02));
  CHECK(beyond_two / double{kCount} == doctest::Approx(0.045500).epsilon(0.1));
}

TEST_CASE("below reaches every value equally often") {
  // Chi-square over n cells has mean n-1 and variance 2(n-1); 5 standard deviations.
  constexpr int kDraws = 60'000;
  for (const std::uint32_t n : {1U, 2U, 3U, 7U, 256U}) {
    CAPTURE(n);
    Rng rng(1, "cells", n);
    std::vector<int> cells(n);
    for (int i = 0; i < kDraws; ++i) ++cells.at(rng.below(n));
    const double expect = kDraws / double(n);
    double chi = 0;
    for (const int cell : cells) chi += (cell - expect) * (cell - expect) / expect;
    CHECK(chi <= n - 1 + 5 * std::sqrt(2.0 * (n - 1)));
  }
}

TEST_CASE("below is unbiased where a remainder would not be") {
  // next() % 3e9 on 32 bits would hit the lower 43 % twice as often: 0.65 below half, not 0.5.
  constexpr std::uint32_t kRange = 3'000'000'000U;
  constexpr int kDraws = 50'000;
  Rng rng(1, "bias");
  int low = 0;
  for (int i = 0; i < kDraws; ++i) low += rng.below(kRange) < kRange / 2 ? 1 : 0;
  CHECK(low / double{kDraws} == doctest::Approx(0.5).epsilon(0.025));
}
