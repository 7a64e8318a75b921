#include "hardware/overlap.h"

#include <algorithm>
#include <doctest/doctest.h>

#include "sim/base/random.h"

namespace moesim {
namespace {

HalfBatch half_us(double attention, double experts, double shared, double dispatch,
                  double combine) {
  const auto us = [](double x) { return Seconds(x * 1e-6); };
  return {.attention = us(attention),
          .experts = us(experts),
          .shared = us(shared),
          .dispatch = us(dispatch),
          .combine = us(combine)};
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
    HalfBatch h = half_us(random.exponential(), random.exponential(), random.exponential(),
                          random.exponential(), random.exponential());
    h.prepare = random.uniform() * h.attention;
    h.dispatch_kernels = random.uniform() * h.dispatch;
    h.combine_kernels = random.uniform() * h.combine;
    const Seconds kernels = h.dispatch_kernels + h.combine_kernels;
    const Seconds compute = 2.0 * (h.attention + h.experts + h.shared + kernels);
    const Seconds messages = 2.0 * (h.dispatch + h.combine);
    for (const auto layer : {two_batch_layer, two_batch_prompt_layer, two_batch_decode_layer}) {
      CHECK(layer(h).value() >= std::max(compute, messages).value() * (1 - 1e-12));
      CHECK(layer(h).value() <= two_batch_serial(h).value() * (1 + 1e-12));
    }
  }
}

TEST_CASE("each order hides messages under its own work, and kernels of messages under none") {
  // a 50 of which 20 before keys, m 40, s 10; D 60 - 15, C 70 - 25.
  HalfBatch half = half_us(50, 40, 10, 60, 70);
  half.prepare = Seconds(20e-6);
  half.dispatch_kernels = Seconds(15e-6);
  half.combine_kernels = Seconds(25e-6);
  struct Case {
    const char* why;
    Seconds (*layer)(const HalfBatch&);
    double us;
  };
  const Case cases[] = {
      {"slots: 50 + 45 + 50 + 60 and kernels of 80", two_batch_layer, 285},
      {"prompts by stages: 60 + 45 + 45 + 60 and kernels", two_batch_prompt_layer, 290},
      // 2 x (max(10 + 20, 45) + max(30, 45) + 40)
      {"decodes by stages: nothing hides under experts", two_batch_decode_layer, 340},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(c.layer(half).value() * 1e6 == doctest::Approx(c.us));
    CHECK(c.layer(half).value() <= two_batch_serial(half).value());
  }
}

TEST_CASE("computation beside 20 busy SMs of 132 takes 132/112 as long") {
  CHECK(slowdown_on_fewer_sms(132, 20) == doctest::Approx(1.178571).epsilon(1e-6));
  CHECK(slowdown_on_fewer_sms(132, 0) == 1);
}

}  // namespace
}  // namespace moesim
