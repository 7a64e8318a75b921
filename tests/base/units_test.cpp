#include "sim/base/units.h"

#include <cmath>
#include <doctest/doctest.h>
#include <limits>
#include <string>
#include <type_traits>

using namespace moesim;
using namespace moesim::literals;

namespace {

template <class A, class B>
concept Addable = requires(A a, B b) {
  a + b;
};
template <class A, class B>
concept Comparable = requires(A a, B b) {
  a < b;
};

}  // namespace

TEST_CASE("quantities of different units neither add nor compare") {
  static_assert(Addable<Seconds, Seconds>);
  static_assert(!Addable<Seconds, Bytes>);
  static_assert(!Addable<BytesPerSecond, FlopsPerSecond>);
  static_assert(!Addable<Seconds, double>);
  static_assert(Comparable<Bytes, Bytes>);
  static_assert(!Comparable<Bytes, Flops>);
  static_assert(!std::is_convertible_v<double, Seconds>);
  CHECK(2.0 * 3.0_ms == 6.0_ms);
  CHECK(3.0_s / 2.0_s == 1.5);
  CHECK(1_KiB + 24_B == 1048_B);
  CHECK(5_B - 7_B == Bytes(-2));
  CHECK(3_B * 4 == 12_B);
  CHECK(9_B / 2 == 4_B);
}

TEST_CASE("sums accumulate in place") {
  Seconds total = 1.0_s;
  total += 0.5_s;
  total -= 0.25_s;
  CHECK(total == 1.25_s);
}

TEST_CASE("size over rate and work over rate are times") {
  CHECK(Bytes(3'350'000'000'000) / BytesPerSecond(3.35e12) == 1.0_s);
  CHECK(Flops(989e9) / FlopsPerSecond(989e12) == Seconds(1e-3));
}

TEST_CASE("literals use binary prefixes for bytes and decimal ones for time") {
  CHECK((1_KiB).value() == 1024);
  CHECK((1_MiB).value() == 1'048'576);
  CHECK((2_GiB).value() == 2'147'483'648);
  CHECK((1.5_us).value() == 1.5 * 1e-6);
  CHECK((2.0_ms).value() == 2.0 * 1e-3);
}

TEST_CASE("times print with three digits and the nearest prefix") {
  struct Case {
    std::string why;
    double seconds;
    const char* expect;
  };
  const Case cases[] = {
      {"zero has no prefix", 0, "0 s"},
      {"milliseconds", 1.25e-3, "1.25 ms"},
      {"one nanosecond", 1e-9, "1.00 ns"},
      {"below a nanosecond stays in nanoseconds", 2.5e-12, "0.00 ns"},
      {"two digits in front", 42.42e-6, "42.4 us"},
      {"three digits in front", 314.159e-6, "314 us"},
      {"rounding carries into the next prefix", 999.6e-6, "1.00 ms"},
      {"just below the carry", 999.4e-6, "999 us"},
      {"rounding carries within a prefix", 9.996e-3, "10.0 ms"},
      {"two digits carry to three", 99.96e-3, "100 ms"},
      {"seconds are the largest prefix", 86'400, "86400 s"},
      {"negative", -1.5e-3, "-1.50 ms"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(to_text(Seconds(c.seconds)) == c.expect);
  }
}

TEST_CASE("sizes print decimal by default and binary as the engines log them") {
  struct Case {
    std::string why;
    std::int64_t bytes;
    const char* decimal;
    const char* binary;
  };
  const Case cases[] = {
      {"none", 0, "0 B", "0 B"},
      {"exact below the first decimal prefix", 999, "999 B", "999 B"},
      {"between the first prefixes", 1000, "1.00 kB", "1000 B"},
      {"one KiB", 1024, "1.02 kB", "1.00 KiB"},
      {"just below the next binary prefix", 1023 * 1024, "1.05 MB", "1023 KiB"},
      {"an 80 GB card", 80'000'000'000, "80.0 GB", "74.5 GiB"},
      {"what it reports", 85'045'870'592, "85.0 GB", "79.2 GiB"},
      {"weights of a large model", 688'586'727'753, "689 GB", "641 GiB"},
      {"largest", std::numeric_limits<std::int64_t>::max(), "9.22 EB", "8192 PiB"},
      {"smallest", std::numeric_limits<std::int64_t>::min(), "-9.22 EB", "-8192 PiB"},
      {"negative", -2048, "-2.05 kB", "-2.00 KiB"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(to_text(Bytes(c.bytes)) == c.decimal);
    CHECK(to_gib_text(Bytes(c.bytes)) == c.binary);
  }
}

TEST_CASE("rates print decimal") {
  CHECK(to_text(BytesPerSecond(3.35e12)) == "3.35 TB/s");
  CHECK(to_text(BytesPerSecond(900e9)) == "900 GB/s");
  CHECK(to_text(BytesPerSecond(0)) == "0 B/s");
  CHECK(to_text(BytesPerSecond(12)) == "12.0 B/s");
  CHECK(to_text(BytesPerSecond(999.9e9)) == "1.00 TB/s");
}

TEST_CASE("a value that is not finite prints instead of looping") {
  CHECK(to_text(Seconds(std::numeric_limits<double>::infinity())) == "inf s");
  CHECK(to_text(Seconds(std::numeric_limits<double>::quiet_NaN())) == "nan ns");
}
