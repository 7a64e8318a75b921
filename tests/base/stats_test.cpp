#include "sim/base/stats.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <limits>
#include <string>
#include <vector>

#include "sim/base/random.h"

using namespace moesim;

namespace {

/// Samples as latencies are: spread over six decades.
std::vector<double> latencies(int count, std::uint64_t index = 0) {
  Rng rng(1, "latencies", index);
  std::vector<double> result;
  for (int i = 0; i < count; ++i) result.push_back(std::floor(std::exp(7 + 12 * rng.uniform())));
  return result;
}

LogHistogram histogram_of(const std::vector<double>& samples) {
  LogHistogram result;
  for (const double sample : samples) result.add(static_cast<std::int64_t>(sample), 1);
  return result;
}

void check_same(const Summary& a, const Summary& b) {
  CHECK(a.count == b.count);
  CHECK(a.mean == b.mean);
  CHECK(a.std == b.std);
  CHECK(a.min == b.min);
  CHECK(a.p1 == b.p1);
  CHECK(a.p50 == b.p50);
  CHECK(a.p99 == b.p99);
  CHECK(a.max == b.max);
}

}  // namespace

TEST_CASE("percentiles interpolate linearly between samples") {
  struct Case {
    std::string why;
    std::vector<double> sorted;
    double p, expect;
  };
  // Rank (n-1) p / 100 counts from 0; expectations by hand.
  const Case cases[] = {
      {"one sample is every percentile", {7}, 99, 7},
      {"the ends are the extremes", {1, 2, 3, 4}, 0, 1},
      {"and the other end", {1, 2, 3, 4}, 100, 4},
      {"median of an odd count is a sample", {1, 5, 100}, 50, 5},
      {"median of an even count lies halfway", {1, 5, 7, 100}, 50, 6},
      {"rank 0.75 of {1,2,3,4}", {1, 2, 3, 4}, 25, 1.75},
      {"rank 3.6 of five", {10, 20, 30, 40, 50}, 90, 46},
      {"rank 3.96 of five", {10, 20, 30, 40, 50}, 99, 49.6},
      {"equal samples", {3, 3, 3}, 37, 3},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(percentile(c.sorted, c.p) == doctest::Approx(c.expect).epsilon(1e-12));
  }
}

TEST_CASE("a summary of {2,4,4,4,5,5,7,9} in any order") {
  // The textbook example of a population standard deviation of 2.
  const Summary s = summarize({9, 4, 2, 5, 4, 7, 4, 5});
  CHECK(s.count == 8);
  CHECK(s.mean == 5);
  CHECK(s.std == 2);
  CHECK(s.min == 2);
  CHECK(s.max == 9);
  CHECK(s.p50 == 4.5);
  CHECK(s.p25 == 4);
  CHECK(s.p75 == 5.5);
  CHECK(s.p90 == doctest::Approx(7.6).epsilon(1e-12));
  CHECK(s.p95 == doctest::Approx(8.3).epsilon(1e-12));
  CHECK(s.p99 == doctest::Approx(8.86).epsilon(1e-12));
  CHECK(s.p1 == doctest::Approx(2.14).epsilon(1e-12));
  CHECK(s.p5 == doctest::Approx(2.7).epsilon(1e-12));
}

TEST_CASE("a summary of nothing is all zero") {
  const Summary s = summarize({});
  CHECK(s.count == 0);
  CHECK(s.mean == 0);
  CHECK(s.p99 == 0);
  CHECK(LogHistogram().summary().count == 0);
  CHECK(LogHistogram().summary().max == 0);
}

TEST_CASE("a summary does not depend on the order of the samples, but for the rounding of sums") {
  std::vector<double> samples = latencies(1000);
  const Summary forward = summarize(samples);
  std::ranges::reverse(samples);
  Summary backward = summarize(samples);
  CHECK(backward.mean == doctest::Approx(forward.mean).epsilon(1e-13));
  CHECK(backward.std == doctest::Approx(forward.std).epsilon(1e-13));
  backward.mean = forward.mean;
  backward.std = forward.std;
  check_same(forward, backward);
}

TEST_CASE("percentiles of many samples are those of the sorted samples, however they lie") {
  std::vector<double> outlier(1000, 3.0), heaps, even;
  outlier[500] = 1e300;
  for (int i = 0; i < 1000; ++i) {
    heaps.push_back(i % 3 == 0 ? 0 : 7 + i % 2);
    even.push_back((i * 373) % 1000);
  }
  for (const std::vector<double>& samples :
       {latencies(300), latencies(5000), outlier, heaps, even, std::vector<double>(700, 42.5),
        std::vector<double>{5, 1, 4}}) {
    CAPTURE(samples.size());
    std::vector<double> sorted = samples;
    std::ranges::sort(sorted);
    const Summary s = summarize(samples);
    CHECK(s.min == sorted.front());
    CHECK(s.max == sorted.back());
    CHECK(s.p1 == percentile(sorted, 1));
    CHECK(s.p5 == percentile(sorted, 5));
    CHECK(s.p25 == percentile(sorted, 25));
    CHECK(s.p50 == percentile(sorted, 50));
    CHECK(s.p75 == percentile(sorted, 75));
    CHECK(s.p90 == percentile(sorted, 90));
    CHECK(s.p95 == percentile(sorted, 95));
    CHECK(s.p99 == percentile(sorted, 99));
  }
}

TEST_CASE("a histogram reaches down as well as up") {
  LogHistogram h, low;
  h.add(50'000'000, 2);
  h.add(3, 1);  // far below the first
  h.add(std::int64_t{1} << 50, 1);
  CHECK(h.summary().min == 3);
  CHECK(h.count_at_or_below(3) == 1);
  CHECK(h.count_at_or_below(60'000'000) == 3);
  low.add(1, 5);
  low.merge(h);  // other octaves on the other side
  low.merge(LogHistogram());
  CHECK(low.count() == 9);
  CHECK(low.count_at_or_below(3) == 6);
  CHECK(low.count_at_or_below(std::numeric_limits<std::int64_t>::max()) == 9);
}

TEST_CASE("small values are counted exactly") {
  const std::vector<double> samples = {2, 4, 4, 4, 5, 5, 7, 9, 2047};
  const Summary exact = summarize(samples);
  const Summary s = histogram_of(samples).summary();
  CHECK(s.mean == exact.mean);
  CHECK(s.std == doctest::Approx(exact.std).epsilon(1e-12));
  CHECK(s.min == 2);
  CHECK(s.max == 2047);
  CHECK(s.p50 == exact.p50);
  CHECK(s.p75 == exact.p75);
  CHECK(s.p99 == exact.p99);
}

TEST_CASE("a histogram is within 0.1 % of the samples") {
  const std::vector<double> samples = latencies(5000);
  const Summary exact = summarize(samples);
  const Summary s = histogram_of(samples).summary();
  const auto near = [](double value) { return doctest::Approx(value).epsilon(0.001); };
  CHECK(s.count == exact.count);
  CHECK(s.mean == doctest::Approx(exact.mean).epsilon(1e-12));
  CHECK(s.std == near(exact.std));
  CHECK(s.min == near(exact.min));
  CHECK(s.p1 == near(exact.p1));
  CHECK(s.p5 == near(exact.p5));
  CHECK(s.p25 == near(exact.p25));
  CHECK(s.p50 == near(exact.p50));
  CHECK(s.p75 == near(exact.p75));
  CHECK(s.p90 == near(exact.p90));
  CHECK(s.p95 == near(exact.p95));
  CHECK(s.p99 == near(exact.p99));
  CHECK(s.max == near(exact.max));
}

TEST_CASE("every magnitude has a bucket of at most 0.1 %") {
  for (int bits = 0; bits < 63; bits += 2) {
    CAPTURE(bits);
    for (const std::int64_t offset : {-1, 0, 1}) {
      const std::int64_t value = (std::int64_t{1} << bits) + offset;
      LogHistogram h;
      h.add(value, 1);
      const Summary s = h.summary();
      const auto exact = static_cast<double>(value);
      CHECK(s.min <= exact);
      CHECK(s.max >= exact);
      CHECK(s.max - s.min <= exact * 0.001);
      CHECK(s.p50 >= s.min);
      CHECK(s.p50 <= s.max);
    }
  }
  LogHistogram h;
  h.add(std::numeric_limits<std::int64_t>::max(), 1);
  CHECK(h.summary().max == 0x1p63);
}

TEST_CASE("a weight counts like that many values") {
  LogHistogram weighted;
  weighted.add(100, 3);
  weighted.add(1'000'000, 2);
  const LogHistogram single = histogram_of({100, 1'000'000, 100, 100, 1'000'000});
  CHECK(weighted.count() == 5);
  check_same(weighted.summary(), single.summary());
}

TEST_CASE("merging gives the same bits in any order and grouping") {
  const std::vector<double> parts[] = {latencies(500, 1), latencies(500, 2), latencies(500, 3)};
  std::vector<double> all;
  for (const std::vector<double>& part : parts) all.insert(all.end(), part.begin(), part.end());

  LogHistogram left = histogram_of(parts[0]);  // (0 + 1) + 2
  left.merge(histogram_of(parts[1]));
  left.merge(histogram_of(parts[2]));
  LogHistogram tail = histogram_of(parts[1]);  // (1 + 2) + 0
  tail.merge(histogram_of(parts[2]));
  LogHistogram right = tail;
  right.merge(histogram_of(parts[0]));

  check_same(left.summary(), histogram_of(all).summary());
  check_same(left.summary(), right.summary());
}

TEST_CASE("sums stay exact beyond double precision and 64 bits") {
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  LogHistogram a;
  a.add(kHuge, 4);  // 2^64
  a.add(1, 1);      // lost in a double
  LogHistogram b;
  b.add(1, 1);
  b.add(kHuge, 4);
  CHECK(a.sum() == 0x1p64);
  CHECK(a.sum() == b.sum());
  CHECK(a.count() == 5);
}

TEST_CASE("cumulative counts take whole buckets") {
  LogHistogram h;
  for (const std::int64_t value : {10, 20, 20, 4096, 1'000'000}) h.add(value, 1);
  CHECK(h.count_at_or_below(-1) == 0);
  CHECK(h.count_at_or_below(9) == 0);
  CHECK(h.count_at_or_below(10) == 1);
  CHECK(h.count_at_or_below(20) == 3);
  CHECK(h.count_at_or_below(4095) == 3);
  CHECK(h.count_at_or_below(4096) == 4);
  CHECK(h.count_at_or_below(2'000'000) == 5);
  CHECK(h.count_at_or_below(std::numeric_limits<std::int64_t>::max()) == 5);
}
