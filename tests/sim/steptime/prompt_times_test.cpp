#include "sim/steptime/prompt_times.h"

#include <doctest/doctest.h>

using namespace moesim;

namespace {

/// A number of its own for every chunk.
KernelTime price_of(int tokens, int context) {
  return {Seconds(tokens + 1e-5 * context),
          context % 2 == 0 ? Provenance::kMeasured : Provenance::kDonor};
}

}  // namespace

TEST_CASE("a chunk costs what it cost before, and what no other does") {
  PromptTimes times;
  int asked = 0;
  const auto check = [&](int tokens, int context) {
    const KernelTime time = times.at(tokens, context, [&] {
      ++asked;
      return price_of(tokens, context);
    });
    CHECK(time.time == price_of(tokens, context).time);
    CHECK(time.provenance == price_of(tokens, context).provenance);
  };
  for (int twice = 0; twice < 2; ++twice) {
    check(512, 0);
    check(512, 1);  // the same tokens behind more context
    check(1, 512);  // the other way round
  }
  CHECK(asked == 3);
  // Far more chunks than are remembered, so places are shared.
  for (int twice = 0; twice < 2; ++twice) {
    for (int tokens = 1; tokens <= 100; ++tokens) {
      for (int context = 0; context < 100; ++context) check(tokens, 64 * context);
    }
  }
}
