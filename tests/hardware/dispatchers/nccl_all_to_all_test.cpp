#include <doctest/doctest.h>

#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

// Four ranks, a hop 1 us, NCCL 10 us: 10 + 3.2 + 0.12 x 3 = 13.56 us before any byte. Dispatch asks
// for the sizes first, and the CPU takes 50 us to hear them.
TEST_CASE("NCCL all-to-all: sizes go first, and nobody waits for them on the way back") {
  DispatchWorld world(round_cluster(), 4);
  const DispatchCost cost = world.make("nccl_all_to_all")->cost(uniform_traffic(world, 0).view());
  CHECK(cost.dispatch_ns == doctest::Approx(50e3 + 2 * 13.56e3));
  CHECK(cost.combine_ns == doctest::Approx(13.56e3));
}

// 10 kB a copy there, 8 of them index and weight; rank 2 gets 40,000 copies, 30,000 from others:
// 300 MB at 100 GB/s. NCCL's third protocol: six times the hops, all of the bandwidth.
TEST_CASE("NCCL all-to-all: a copy per (token, expert), the busiest link under these counts") {
  DispatchWorld world(round_cluster(), 4);
  world.setup.dispatch_token_bytes = 9992;
  world.setup.combine_token_bytes = 20000;
  const std::vector<double> held(4, 100), slots = {1000, 2000, 40000, 1000}, none(4, 0),
                                          node = {400};
  const DispatchCost cost = world.make("nccl_all_to_all")->cost({held, none, slots, node});
  CHECK(cost.dispatch_ns == doctest::Approx(50e3 + 13.56e3 + 10e3 + 6 * 3.56e3 + 3e6));
  CHECK(cost.combine_ns == doctest::Approx(10e3 + 6 * 3.56e3 + 6e6));
  CHECK(cost.dispatch_bytes_intra == doctest::Approx(0.75 * 44000 * 10e3));
  CHECK(cost.busiest_rank == 2);
}

}  // namespace
}  // namespace moesim
