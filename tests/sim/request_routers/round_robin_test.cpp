#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/sim/small_cluster.h"

using namespace moesim;

TEST_CASE("round robin takes the instances in turn, whatever their load") {
  struct Case {
    std::string why;
    std::vector<InstanceLoad> loads;
    std::vector<std::size_t> expect;
  };
  const Case cases[] = {
      {"one instance", {{}}, {0, 0, 0}},
      {"three instances, twice round", {{}, {}, {}}, {0, 1, 2, 0, 1, 2}},
      {"loads are not looked at", {{99, 99, 99'999}, {0, 0, 0}}, {0, 1, 0, 1}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const auto router = made<RequestRouter>("round_robin");
    router->start(1, c.loads.size(), {});
    std::vector<std::size_t> picked;
    for (std::uint32_t r = 0; r < c.expect.size(); ++r) picked.push_back(router->pick(r, c.loads));
    CHECK(picked == c.expect);
  }
}

TEST_CASE("round robin begins anew with every run, and needs no load") {
  const auto router = made<RequestRouter>("round_robin");
  CHECK_FALSE(router->needs_load());
  const std::vector<InstanceLoad> loads(3);
  router->start(1, 3, {});
  CHECK(router->pick(0, loads) == 0);
  router->start(2, 3, {});
  CHECK(router->pick(0, loads) == 0);
}
