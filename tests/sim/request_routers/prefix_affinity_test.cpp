#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/sim/small_cluster.h"

using namespace moesim;

namespace {

/// Prompts with chains: each element an id and the tokens up to its end.
struct Prompt {
  std::uint32_t tokens;
  std::vector<ChainElement> chain;
};

Workload prompts(const std::vector<Prompt>& rows) {
  Workload workload;
  workload.chain_begin.push_back(0);
  for (const Prompt& row : rows) {
    workload.arrival_ns.push_back(0);
    workload.prompt_tokens.push_back(row.tokens);
    workload.output_tokens.push_back(1);
    workload.chain.insert(workload.chain.end(), row.chain.begin(), row.chain.end());
    workload.chain_begin.push_back(static_cast<std::uint32_t>(workload.chain.size()));
    for (const ChainElement& element : row.chain) {
      workload.chain_ids = std::max(workload.chain_ids, element.id + 1);
    }
  }
  return workload;
}

std::vector<std::size_t> picks(const Workload& workload, const std::vector<InstanceLoad>& loads) {
  const auto router = made<RequestRouter>("prefix_affinity");
  router->start(1, loads.size(), workload);
  std::vector<std::size_t> result;
  for (std::uint32_t r = 0; r < workload.size(); ++r) result.push_back(router->pick(r, loads));
  return result;
}

}  // namespace

TEST_CASE("prefix affinity follows what an instance was sent before") {
  struct Case {
    std::string why;
    std::vector<Prompt> rows;
    std::vector<std::size_t> expect;
  };
  const Case cases[] = {
      {"without identities: the smallest tree, the first on ties (trees 10|0, 10|20, 40|20)",
       {{10, {}}, {20, {}}, {30, {}}, {5, {}}},
       {0, 1, 0, 1}},
      {"a known prefix of 40 of 100 tokens is more than 0.3: follow it",
       {{100, {{0, 40}}}, {50, {}}, {100, {{0, 40}}}},
       {0, 1, 0}},
      {"30 of 100 tokens are not more than 0.3: the smaller tree",
       {{100, {{0, 30}}}, {50, {}}, {100, {{0, 30}}}},
       {0, 1, 1}},
      {"31 of 100 are", {{100, {{0, 31}}}, {50, {}}, {100, {{0, 31}}}}, {0, 1, 0}},
      {"the longer match wins: 80 tokens on the second, 50 on the first",
       {{100, {{0, 50}}}, {100, {{0, 50}, {1, 80}}}, {300, {}}, {100, {{0, 50}, {1, 80}}}},
       {0, 0, 1, 0}},
      {"a match ends at the first unknown element, though a later one is known",
       {{100, {{0, 20}, {1, 90}}}, {40, {}}, {100, {{2, 20}, {1, 90}}}},
       {0, 1, 1}},
      {"both know it equally well: the first",
       {{100, {{0, 30}}}, {50, {}}, {100, {{0, 30}}}, {60, {{0, 30}}}},
       {0, 1, 1, 0}},
      {"a shared prefix is counted once in a tree (first 100 + 20, second 110)",
       {{100, {{0, 80}}}, {110, {}}, {100, {{0, 80}}}, {1, {}}},
       {0, 1, 0, 1}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(picks(prompts(c.rows), std::vector<InstanceLoad>(2)) == c.expect);
  }
}

TEST_CASE("prefix affinity gives way when loads are far apart") {
  // The first instance knows the prompt; loads are requests waiting and running.
  const Workload workload = prompts({{100, {{0, 90}}}, {100, {{0, 90}}}});
  struct Case {
    std::string why;
    InstanceLoad first, second;
    std::size_t expect;
  };
  const Case cases[] = {
      {"both empty", {0, 0, 0}, {0, 0, 0}, 0},
      {"64 apart is not more than 64", {60, 4, 0}, {0, 0, 0}, 0},
      {"65 apart, and 65 > 1.5 * 0", {61, 4, 0}, {0, 0, 0}, 1},
      {"70 apart, but 210 is not more than 1.5 * 140", {210, 0, 0}, {140, 0, 0}, 0},
      {"71 apart, and 211 > 1.5 * 140", {0, 211, 0}, {0, 140, 0}, 1},
      {"the busy one is not the one that knows it", {0, 0, 0}, {0, 100, 0}, 0},
      {"tokens are not looked at", {0, 0, 1'000'000}, {0, 0, 0}, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const auto router = made<RequestRouter>("prefix_affinity");
    router->start(1, 2, workload);
    REQUIRE(router->pick(0, std::vector<InstanceLoad>(2)) == 0);
    CHECK(router->pick(1, std::vector<InstanceLoad>{c.first, c.second}) == c.expect);
  }
}

TEST_CASE("what is sent away for its load is known where it went") {
  const Workload workload = prompts({{100, {{0, 90}}}, {100, {{0, 90}}}, {50, {{0, 50}}}});
  const auto router = made<RequestRouter>("prefix_affinity");
  router->start(1, 2, workload);
  CHECK(router->needs_load());
  const std::vector<InstanceLoad> idle(2);
  CHECK(router->pick(0, idle) == 0);
  CHECK(router->pick(1, std::vector<InstanceLoad>{{0, 99, 0}, {0, 0, 0}}) == 1);
  // Now both know it; 100 tokens against 1 of a restart show that a run begins with empty trees.
  CHECK(router->pick(2, idle) == 0);
  router->start(1, 2, workload);
  CHECK(router->pick(2, idle) == 0);
  CHECK(router->pick(1, std::vector<InstanceLoad>{{0, 99, 0}, {0, 0, 0}}) == 1);
}
