#include <array>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/sim/small_cluster.h"

using namespace moesim;

namespace {

constexpr int kPicks = 12'000;

std::vector<InstanceLoad> with_tokens(const std::vector<std::int64_t>& tokens) {
  std::vector<InstanceLoad> loads;
  for (const std::int64_t t : tokens) loads.push_back({.waiting = 0, .running = 0, .tokens = t});
  return loads;
}

std::vector<std::size_t> picks(std::uint64_t seed, const std::vector<InstanceLoad>& loads) {
  const auto router = made<RequestRouter>("power_of_two");
  router->start(seed, loads.size(), {});
  std::vector<std::size_t> result;
  for (std::uint32_t r = 0; r < kPicks; ++r) result.push_back(router->pick(r, loads));
  return result;
}

}  // namespace

TEST_CASE("power of two picks each instance as often as its rank among all says") {
  // Of n instances the one with i lighter ones is picked if it is drawn and none of those is: in
  // (n - 1 - i) of n(n-1)/2 pairs. A tie goes to the one drawn first, so both are as likely.
  struct Case {
    std::string why;
    std::vector<std::int64_t> tokens;
    std::vector<double> expect;  // shares
  };
  const Case cases[] = {
      {"one instance", {7}, {1}},
      {"two: both are drawn, always the lighter one", {7, 3}, {0, 1}},
      {"two alike", {5, 5}, {0.5, 0.5}},
      {"three: the heaviest never, the middle one if the lightest is not drawn",
       {30, 10, 20},
       {0, 2.0 / 3, 1.0 / 3}},
      {"four", {1, 2, 3, 4}, {3.0 / 6, 2.0 / 6, 1.0 / 6, 0}},
      {"four alike", {0, 0, 0, 0}, {0.25, 0.25, 0.25, 0.25}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    std::vector<double> share(c.tokens.size());
    for (const std::size_t pick : picks(1, with_tokens(c.tokens))) share[pick] += 1.0 / kPicks;
    for (std::size_t i = 0; i < share.size(); ++i) {
      CAPTURE(i);
      // Four standard deviations of a share of 12,000 draws: 0.018.
      if (c.expect[i] == 0) CHECK(share[i] == 0);
      CHECK(share[i] == doctest::Approx(c.expect[i]).epsilon(0.018));
    }
  }
}

TEST_CASE("power of two compares tokens, not requests") {
  std::vector<InstanceLoad> loads = {{9, 9, 10}, {0, 0, 11}};
  for (const std::size_t pick : picks(1, loads)) REQUIRE(pick == 0);
}

TEST_CASE("power of two draws from its own stream: the same seed, the same choices") {
  const auto loads = with_tokens({0, 0, 0});
  CHECK(made<RequestRouter>("power_of_two")->needs_load());
  CHECK(picks(1, loads) == picks(1, loads));
  CHECK(picks(1, loads) != picks(2, loads));
}
