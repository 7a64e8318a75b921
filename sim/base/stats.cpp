#include "sim/base/stats.h"

#include <algorithm>
#include <bit>
#include <boost/sort/spreadsort/float_sort.hpp>
#include <cmath>

#include "sim/base/check.h"

namespace moesim {
namespace {

constexpr int kExactBits = 11;   // values below 2^11 have a bucket each
constexpr int kOctaveBits = 10;  // then 2^10 buckets an octave
constexpr std::size_t kExact = std::size_t{1} << kExactBits;
constexpr std::size_t kPerOctave = std::size_t{1} << kOctaveBits;
constexpr std::size_t kBuckets = kExact + (63 - kExactBits) * kPerOctave;  // up to 2^63 - 1

/// How many integers share a bucket.
double width(std::size_t bucket) {
  if (bucket < kExact) return 1;
  return std::ldexp(1.0, static_cast<int>((bucket - kExact) / kPerOctave) + 1);
}

/// NumPy's linear interpolation, from the nearer end so that t = 1 gives exactly `b`.
double interpolate(double a, double b, double t) {
  return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t);
}

/// Percentile of `count` ascending samples; `sample(i)` is the i-th.
template <class Sample>
double percentile_of(std::size_t count, double p, const Sample& sample) {
  const double rank = static_cast<double>(count - 1) * (p / 100);
  const auto below = std::min(static_cast<std::size_t>(rank), count - 1);
  const std::size_t above = std::min(below + 1, count - 1);
  return interpolate(sample(below), sample(above), rank - static_cast<double>(below));
}

template <class Sample>
void fill_percentiles(Summary& summary, const Sample& sample) {
  const auto at = [&](double p) { return percentile_of(summary.count, p, sample); };
  summary.p1 = at(1);
  summary.p5 = at(5);
  summary.p25 = at(25);
  summary.p50 = at(50);
  summary.p75 = at(75);
  summary.p90 = at(90);
  summary.p95 = at(95);
  summary.p99 = at(99);
}

}  // namespace

double percentile(const std::vector<double>& sorted, double p) {
  MOESIM_CHECK(!sorted.empty(), "a percentile is of at least one sample");
  MOESIM_CHECK(p >= 0 && p <= 100, "a percentile lies in 0 to 100");
  return percentile_of(sorted.size(), p, [&](std::size_t i) { return sorted[i]; });
}

Summary summarize(std::vector<double> samples) {
  Summary result;
  result.count = samples.size();
  if (samples.empty()) return result;
  boost::sort::spreadsort::float_sort(samples.begin(), samples.end());
  const auto count = static_cast<double>(samples.size());
  double sum = 0;
  for (const double sample : samples) sum += sample;
  result.mean = sum / count;
  double squares = 0;
  for (const double sample : samples) squares += (sample - result.mean) * (sample - result.mean);
  result.std = std::sqrt(squares / count);
  result.min = samples.front();
  result.max = samples.back();
  fill_percentiles(result, [&](std::size_t i) { return samples[i]; });
  return result;
}

LogHistogram::LogHistogram() : counts_(kBuckets) {}

std::size_t LogHistogram::bucket(std::int64_t value) {
  if (value < 0) return 0;
  const auto bits = static_cast<std::uint64_t>(value);
  if (bits < kExact) return bits;
  const int shift = static_cast<int>(std::bit_width(bits)) - 1 - kOctaveBits;
  const auto octave = static_cast<std::size_t>(shift - 1);
  return kExact + octave * kPerOctave + static_cast<std::size_t>(bits >> shift) - kPerOctave;
}

double LogHistogram::lower_edge(std::size_t bucket) {
  if (bucket < kExact) return static_cast<double>(bucket);
  const std::size_t within = (bucket - kExact) % kPerOctave;
  return static_cast<double>(kPerOctave + within) * width(bucket);
}

void LogHistogram::merge(const LogHistogram& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  total_ += other.total_;
  sum_ += other.sum_;
}

Summary LogHistogram::summary() const {
  struct Cell {
    std::size_t bucket, before, count;
  };
  Summary result;
  result.count = static_cast<std::size_t>(total_);
  if (total_ == 0) return result;
  std::vector<Cell> cells;
  std::size_t before = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] == 0) continue;
    cells.push_back({i, before, static_cast<std::size_t>(counts_[i])});
    before += cells.back().count;
  }
  result.mean = sum() / static_cast<double>(total_);
  double squares = 0;
  for (const Cell& cell : cells) {
    const double middle = lower_edge(cell.bucket) + (width(cell.bucket) - 1) / 2;
    const double deviation = middle - result.mean;
    squares += static_cast<double>(cell.count) * (deviation * deviation);
  }
  result.std = std::sqrt(squares / static_cast<double>(total_));
  result.min = lower_edge(cells.front().bucket);
  result.max = lower_edge(cells.back().bucket) + width(cells.back().bucket) - 1;
  // The samples of a bucket are taken as spread evenly over it.
  fill_percentiles(result, [&](std::size_t i) {
    const auto after = std::ranges::upper_bound(cells, i, {}, &Cell::before);
    const Cell& cell = *(after - 1);
    const double part =
        (static_cast<double>(i - cell.before) + 0.5) / static_cast<double>(cell.count);
    return lower_edge(cell.bucket) + (width(cell.bucket) - 1) * part;
  });
  return result;
}

std::int64_t LogHistogram::count_at_or_below(std::int64_t value) const {
  if (value < 0) return 0;
  const std::size_t last = bucket(value);
  std::int64_t result = 0;
  for (std::size_t i = 0; i <= last; ++i) result += counts_[i];
  return result;
}

}  // namespace moesim
