#include <doctest/doctest.h>

#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

// 14,336 bytes a token and 2 x 256 of router scores; ranks take turns.
TEST_CASE("naive: tokens and scores of each rank in turn, then an all-reduce of the whole batch") {
  DispatchWorld world(round_cluster(), 2);
  world.setup.dispatch_token_bytes = 14336;
  const std::vector<int> both = {0, 1};
  const auto ns = [&](CollectiveKind kind, std::int64_t bytes) {
    return 1e9 * world.collectives.cost({kind, Bytes(bytes), both}).time.value();
  };
  const std::vector<double> held = {100, 300}, none = {0, 0}, node = {0};
  const DispatchCost cost = world.make("naive")->cost({held, none, none, node});
  CHECK(cost.dispatch_ns == doctest::Approx(ns(CollectiveKind::kBroadcast, 1'433'600) +
                                            ns(CollectiveKind::kBroadcast, 51'200) +
                                            ns(CollectiveKind::kBroadcast, 4'300'800) +
                                            ns(CollectiveKind::kBroadcast, 153'600)));
  CHECK(cost.combine_ns == doctest::Approx(ns(CollectiveKind::kAllReduce, 5'734'400)));
}

TEST_CASE("naive: broadcasts one after the other lose to an all-gather") {
  DispatchWorld world(round_cluster(), 4);
  const LayerTraffic traffic = uniform_traffic(world, 64);
  CHECK(world.make("naive")->cost(traffic.view()).dispatch_ns >
        2 * world.make("allgather_reducescatter")->cost(traffic.view()).dispatch_ns);
}

}  // namespace
}  // namespace moesim
