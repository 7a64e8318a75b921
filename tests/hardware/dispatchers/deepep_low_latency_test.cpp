#include <doctest/doctest.h>

#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

/// Messages of 10 kB there (16 bytes are the header's) and 20 kB back.
void round_messages(DispatchSetup& setup) {
  setup.dispatch_token_bytes = 9984;
  setup.combine_token_bytes = 20000;
}

// NVLink 100 GB/s, of which 73 % are reached. Rank 0 holds three quarters: 600 of the 800 messages
// for rank 1 are its, 6 MB or 60 us; the other way 100 messages.
TEST_CASE("low latency: every (token, expert) is a message, the busiest link decides") {
  DispatchWorld world(round_cluster(), 2);
  round_messages(world.setup);
  const std::vector<double> held = {300, 100}, slots = {400, 800}, none = {0, 0}, node = {400};
  const DispatchCost cost = world.make("deepep_low_latency")->cost({held, none, slots, node});
  CHECK(cost.dispatch_ns == doctest::Approx(14e3 + 60e3 / 0.73));
  CHECK(cost.combine_ns == doctest::Approx(14e3 + 120e3 / 0.73));
  CHECK(cost.dispatch_bytes_intra == doctest::Approx(700 * 10e3));
  CHECK(cost.combine_bytes_intra == doctest::Approx(700 * 20e3));
  CHECK(cost.dispatch_bytes_inter == 0);
  CHECK_FALSE(cost.measured);
}

// Published of 128 tokens of hidden 7168, top-8 (hardware/dispatch_pairs.cpp); half the tokens
// leave half of what is above the start.
TEST_CASE("low latency: kernels hold the GPU while they send and receive, others beside theirs") {
  DispatchWorld world(round_cluster(), 2);
  world.setup.hidden = 7168;
  world.setup.top_k = 8;
  world.setup.dispatch_token_bytes = 7168 + 4 * 56;
  world.setup.combine_token_bytes = 2 * 7168;
  for (const char* name : {"deepep_low_latency", "mori_low_latency", "nixl_ep"}) {
    const auto backend = world.make(name);
    CHECK(backend->kernels(128).dispatch_ns == doctest::Approx(60e3));
    CHECK(backend->kernels(128).combine_ns == doctest::Approx(50e3));
    CHECK(backend->kernels(64).dispatch_ns == doctest::Approx(35e3));
    CHECK(backend->kernels(0).combine_ns == doctest::Approx(11e3));
  }
  for (const char* name : {"deepep_high_throughput", "pplx"})
    CHECK(world.make(name)->kernels(128).dispatch_ns == 0);
}

// Two nodes of four with NICs of 10 GB/s, 90 % reached: an eighth of 4 x 80 messages leaves every
// rank for the other node, 40 x 10 kB or 40 us.
TEST_CASE("low latency: between nodes the NIC decides") {
  DispatchWorld world(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}), 8);
  round_messages(world.setup);
  const std::vector<double> held(8, 100), slots(8, 80), none(8, 0), node(2, 0);
  const DispatchCost cost = world.make("deepep_low_latency")->cost({held, none, slots, node});
  CHECK(cost.dispatch_ns == doctest::Approx(26e3 + 40e3 / 0.9));
  CHECK(cost.combine_ns == doctest::Approx(26e3 + 80e3 / 0.9));
  CHECK(cost.dispatch_bytes_inter == doctest::Approx(8 * 40 * 10e3));
  CHECK(cost.dispatch_bytes_intra == doctest::Approx(8 * 30 * 10e3));
}

// A rank that gets twice its share is as busy as if all had twice the tokens.
TEST_CASE(
    "low latency: a skewed layer is read off the curve where its busiest link would be even") {
  DispatchWorld world(shipped_cluster("h100_sxm", 1), 8);
  world.setup.kernels.none = false;
  world.setup.kernels.system = "h100_sxm";
  world.setup.kernels.sm_version = 90;
  world.setup.kernels.framework = "vllm";
  const auto backend = world.make("deepep_low_latency");
  const LayerTraffic once = uniform_traffic(world, 64), twice = uniform_traffic(world, 128);
  LayerTraffic skewed = once;
  skewed.slots[3] *= 2;
  const DispatchCost cost = backend->cost(skewed.view());
  CHECK(cost.measured);
  CHECK(backend->source().profile == "h100_sxm/vllm-0.24");
  CHECK_FALSE(backend->source().donor);
  CHECK(cost.busiest_rank == 3);
  CHECK(cost.dispatch_ns == doctest::Approx(backend->cost(twice.view()).dispatch_ns));
  CHECK(cost.combine_ns == doctest::Approx(backend->cost(twice.view()).combine_ns));
  CHECK(cost.dispatch_ns > 1.2 * backend->cost(once.view()).dispatch_ns);
}

// Half the NIC: what the wire takes doubles, what the kernels take does not.
TEST_CASE("low latency: a curve follows the network it runs on") {
  const auto us = [](const char* link, double tokens) {
    DispatchWorld world(shipped_cluster("h100_sxm", 2, link), 16);
    world.setup.kernels.none = false;
    world.setup.kernels.system = "h100_sxm";
    world.setup.kernels.sm_version = 90;
    world.setup.kernels.framework = "vllm";
    return world.make("deepep_low_latency")
        ->cost(uniform_traffic(world, tokens).view())
        .dispatch_ns;
  };
  CHECK(us("roce_200g", 512) / us("ndr_400g", 512) > 1.7);
  CHECK(us("roce_200g", 1) / us("ndr_400g", 1) < 1.1);
}

}  // namespace
}  // namespace moesim
