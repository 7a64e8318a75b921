#include "hardware/overlap.h"

#include <algorithm>
#include <doctest/doctest.h>

#include "sim/base/random.h"

namespace moesim {
namespace {

HalfBatch half_us(double attention, double experts, double shared, double dispatch,
                  double combine) {
  const auto us = [](double x) { return Seconds(x * 1e-6); };
  return {us(attention), us(experts), us(shared), us(dispatch), us(combine)};
}

TEST_CASE("two halves: in each of four slots one computes and the other communicates") {
  struct Case {
    const char* why;
    HalfBatch half;
    double overlapped_us, serial_us;
  };
  const Case cases[] = {
      {"communication hides: twice the computation", half_us(50, 40, 10, 30, 35), 200, 330},
      // max(50,60) + max(40,60) + max(50,70) + max(60,70)
      {"communication shows everywhere", half_us(50, 40, 10, 60, 70), 260, 460},
      // max(80,50) + max(20,50) + max(20,90) + max(80,90): attention covers the dispatch only
      {"short experts cannot hide a combine", half_us(80, 20, 0, 50, 90), 310, 480},
      {"nothing to send", half_us(50, 40, 10, 0, 0), 200, 200},
      {"nothing to compute", half_us(0, 0, 0, 30, 40), 140, 140},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(two_batch_layer(c.half).value() * 1e6 == doctest::Approx(c.overlapped_us));
    CHECK(two_batch_serial(c.half).value() * 1e6 == doctest::Approx(c.serial_us));
  }
}

TEST_CASE("overlap is never below the computation or the messages, never above both in turn") {
  Rng random(1, "overlap");
  for (int i = 0; i < 1000; ++i) {
    const HalfBatch h = half_us(random.exponential(), random.exponential(), random.exponential(),
                                random.exponential(), random.exponential());
    const Seconds layer = two_batch_layer(h);
    const Seconds compute = 2.0 * (h.attention + h.experts + h.shared);
    const Seconds messages = 2.0 * (h.dispatch + h.combine);
    CHECK(layer.value() >= std::max(compute, messages).value() * (1 - 1e-12));
    CHECK(layer.value() <= two_batch_serial(h).value() * (1 + 1e-12));
  }
}

TEST_CASE("a hooked message shows what the computation beside it leaves, and its own kernels") {
  const HookedMessage message{Seconds(100e-6), Seconds(12e-6), Seconds(8e-6)};
  CHECK(exposed(message, Seconds(0)).value() == doctest::Approx(120e-6));
  CHECK(exposed(message, Seconds(70e-6)).value() == doctest::Approx(50e-6));
  CHECK(exposed(message, Seconds(500e-6)).value() == doctest::Approx(20e-6));
}

TEST_CASE("computation beside 20 busy SMs of 132 takes 132/112 as long") {
  CHECK(slowdown_on_fewer_sms(132, 20) == doctest::Approx(1.178571).epsilon(1e-6));
  CHECK(slowdown_on_fewer_sms(132, 0) == 1);
}

}  // namespace
}  // namespace moesim
