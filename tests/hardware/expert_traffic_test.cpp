#include "hardware/expert_traffic.h"

#include <doctest/doctest.h>

using namespace moesim;

TEST_CASE("one expert a token goes to one rank, elsewhere in all but its own share") {
  const ExpertTraffic t = expected_traffic({.ranks = 8, .experts = 16, .topk = 1});
  CHECK(t.to_ranks == doctest::Approx(7.0 / 8));
  CHECK(t.to_experts == doctest::Approx(7.0 / 8));
  CHECK(t.to_nodes == doctest::Approx(0));
}

TEST_CASE("two of four experts on two ranks meet one rank in a third of the draws") {
  // Pairs of {a, a, b, b}: 2 of 6 lie on one rank, 4 on both; the mean is 10/6 ranks, half of them
  // the token's own.
  const ExpertTraffic t = expected_traffic({.ranks = 2, .experts = 4, .topk = 2});
  CHECK(t.to_ranks == doctest::Approx(10.0 / 12));
  CHECK(t.to_experts == doctest::Approx(1));
}

TEST_CASE("every expert means every rank") {
  const ExpertTraffic t = expected_traffic({.ranks = 16, .nodes = 2, .experts = 32, .topk = 32});
  CHECK(t.to_ranks == doctest::Approx(15));
  CHECK(t.to_nodes == doctest::Approx(1));
  CHECK(t.to_experts_outside == doctest::Approx(16));
}

TEST_CASE("a limit on nodes saves copies between nodes and none of the pairs") {
  const ExpertGroup free{.ranks = 64, .nodes = 8, .experts = 256, .topk = 8};
  ExpertGroup limited = free;
  limited.node_limit = 4;
  const ExpertTraffic a = expected_traffic(free);
  const ExpertTraffic b = expected_traffic(limited);
  CHECK(b.to_nodes < a.to_nodes);
  CHECK(b.to_nodes < 4 * 7.0 / 8);
  CHECK(b.to_ranks < a.to_ranks);
  CHECK(b.to_experts == a.to_experts);
  limited.node_limit = 8;
  CHECK(expected_traffic(limited).to_nodes == doctest::Approx(a.to_nodes));
}
