#include <doctest/doctest.h>

#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

// Each of two ranks gets 400 tokens, half its own: 200 x 10 kB at 100 GB/s are 20 us, and its own
// copies take as long again. Counting takes 1 us for 145 tokens. A doubling of ranks adds to the
// start.
TEST_CASE("FlashInfer two-sided: a token once per rank, also to itself") {
  DispatchWorld world(round_cluster(), 2);
  world.setup.dispatch_token_bytes = 10000;
  world.setup.combine_token_bytes = 20000;
  const std::vector<double> held = {200, 200}, copies = {400, 400}, slots = {1e6, 1e6},
                            node = {400};
  const DispatchCost cost =
      world.make("flashinfer_nvlink_two_sided")->cost({held, copies, slots, node});
  CHECK(cost.dispatch_ns ==
        doctest::Approx(11.5e3 + 0.5e3 + 10.5e3 + 0.5e3 + 200e3 / 145 + 40e3 / 0.80));
  CHECK(cost.combine_ns == doctest::Approx(10.5e3 + 1e3 + 80e3 / 0.74));
}

}  // namespace
}  // namespace moesim
