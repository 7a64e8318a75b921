#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/sim/small_cluster.h"

using namespace moesim;

TEST_CASE("least loaded counts waiting and running requests alike") {
  struct Case {
    std::string why;
    std::vector<InstanceLoad> loads;  // waiting, running, tokens
    std::size_t expect;
  };
  const Case cases[] = {
      {"one instance", {{5, 5, 0}}, 0},
      {"the fewest requests", {{0, 3, 0}, {0, 1, 0}, {0, 2, 0}}, 1},
      {"waiting counts as much as running: 2 + 1 against 0 + 2", {{2, 1, 0}, {0, 2, 0}}, 1},
      {"the same sum, shared differently: a tie, and ties go to the first",
       {{1, 2, 0}, {3, 0, 0}, {0, 3, 0}},
       0},
      {"a tie further on", {{0, 9, 0}, {0, 4, 0}, {4, 0, 0}}, 1},
      {"tokens are not looked at", {{0, 1, 1}, {0, 0, 100'000}}, 1},
  };
  const auto router = made<RequestRouter>("least_loaded");
  CHECK(router->needs_load());
  for (const Case& c : cases) {
    CAPTURE(c.why);
    router->start(1, c.loads.size(), {});
    CHECK(router->pick(0, c.loads) == c.expect);
  }
}

TEST_CASE("least loaded fills idle instances before it doubles up") {
  SmallCluster cluster;
  cluster.instances = 3;
  cluster.router = "least_loaded";
  // Long, short, long; at 3500 only the second instance is free again, at 3600 all have one.
  const SmallRun run(cluster, asked({{0, 4, 9}, {0, 4, 2}, {0, 4, 9}, {3500, 4, 9}, {3600, 4, 1}}));
  CHECK(run.table().instance == std::vector<std::uint16_t>{0, 1, 2, 1, 0});
}
