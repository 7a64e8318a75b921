#include "sim/steptime/decode_times.h"

#include <doctest/doctest.h>

using namespace moesim;

namespace {

/// 1000 ns and 3 ns a token; counts how often it is asked.
struct Line {
  int asked = 0;
  KernelTime operator()(std::int64_t context) {
    ++asked;
    return {Seconds(1e-6 + 3e-9 * static_cast<double>(context)), Provenance::kMeasured};
  }
};

double ns(const KernelTime& time) {
  return time.time.value() * 1e9;
}

}  // namespace

TEST_CASE("between nodes times are straight lines, whatever was asked for before") {
  DecodeTimes times;
  Line line;
  for (const std::int64_t context : {5, 31, 32, 33, 63, 64, 1000, 1023, 1024, 1025, 100'003, 64}) {
    CAPTURE(context);
    const auto price = [&](std::int64_t tokens) { return line(tokens); };
    CHECK(ns(times.at(4, context, price)) ==
          doctest::Approx(1000 + 3.0 * static_cast<double>(context)).epsilon(1e-12));
  }
}

TEST_CASE("a node is priced once, and numbers of sequences have nodes of their own") {
  DecodeTimes times;
  Line line;
  const auto price = [&](std::int64_t tokens) { return line(tokens); };
  static_cast<void>(times.at(4, 1030, price));  // between 1024 and 1056
  CHECK(line.asked == 2);
  static_cast<void>(times.at(4, 1050, price));
  static_cast<void>(times.at(4, 1024, price));
  CHECK(line.asked == 2);
  static_cast<void>(times.at(5, 1030, price));
  CHECK(line.asked == 4);
}

TEST_CASE("nodes keep their times when shorter and longer contexts follow") {
  DecodeTimes times;
  Line line;
  const auto price = [&](std::int64_t tokens) { return line(tokens); };
  for (const std::int64_t context : {1030, 40, 100'003, 500}) {
    CAPTURE(context);
    CHECK(ns(times.at(4, context, price)) ==
          doctest::Approx(1000 + 3.0 * static_cast<double>(context)).epsilon(1e-12));
  }
  const int asked = line.asked;
  for (const std::int64_t context : {1030, 40, 100'003, 500}) {
    CAPTURE(context);
    CHECK(ns(times.at(4, context, price)) ==
          doctest::Approx(1000 + 3.0 * static_cast<double>(context)).epsilon(1e-12));
  }
  CHECK(line.asked == asked);
}

TEST_CASE("a kink in the curve is off by half a percent at most") {
  DecodeTimes times;
  // The sharpest bend of a memory and a compute roof: as max(a, b) at 50'000 tokens.
  const auto price = [](std::int64_t tokens) {
    const auto t = static_cast<double>(tokens);
    return KernelTime{Seconds(1e-5 + 1e-10 * (t < 50'000 ? t : 50'000 + 2 * (t - 50'000)))};
  };
  for (std::int64_t context = 40'000; context < 60'000; context += 37) {
    const double exact = ns(price(context));
    CHECK(ns(times.at(1, context, price)) == doctest::Approx(exact).epsilon(5e-3));
  }
}
