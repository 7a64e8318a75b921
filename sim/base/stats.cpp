#include "sim/base/stats.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include "sim/base/check.h"

namespace moesim {
namespace {

constexpr int kExactBits = 11;   // values below 2^11 have a bucket each
constexpr int kOctaveBits = 10;  // then 2^10 buckets an octave
constexpr std::size_t kExact = std::size_t{1} << kExactBits;
constexpr std::size_t kPerOctave = std::size_t{1} << kOctaveBits;

/// How many integers share a bucket.
double width(std::size_t bucket) {
  if (bucket < kExact) return 1;
  return std::ldexp(1.0, static_cast<int>((bucket - kExact) / kPerOctave) + 1);
}

/// NumPy's linear interpolation, from the nearer end so that t = 1 gives exactly `b`.
double interpolate(double a, double b, double t) {
  return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t);
}

/// Between which ranks, and how far from the lower one, a percentile of `count` samples lies.
struct Place {
  std::size_t below, above;
  double part;
};
Place place_of(std::size_t count, double p) {
  const double rank = static_cast<double>(count - 1) * (p / 100);
  const auto below = std::min(static_cast<std::size_t>(rank), count - 1);
  return {below, std::min(below + 1, count - 1), rank - static_cast<double>(below)};
}

/// Percentile of `count` ascending samples; `sample(i)` is the i-th.
template <class Sample>
double percentile_of(std::size_t count, double p, const Sample& sample) {
  const Place place = place_of(count, p);
  return interpolate(sample(place.below), sample(place.above), place.part);
}

struct Percentile {
  double p;
  double Summary::*field;
};
constexpr Percentile kPercentiles[] = {
    {1, &Summary::p1},   {5, &Summary::p5},   {25, &Summary::p25}, {50, &Summary::p50},
    {75, &Summary::p75}, {90, &Summary::p90}, {95, &Summary::p95}, {99, &Summary::p99}};

template <class Sample>
void fill_percentiles(Summary& summary, const Sample& sample) {
  for (const auto& [p, field] : kPercentiles)
    summary.*field = percentile_of(summary.count, p, sample);
}

/// The samples by rank, for the ranks of the percentiles: counts them in bins of equal width, then
/// keeps and sorts those of the bins with such a rank. Evenly spread samples cost two passes and
/// little memory, the worst ones a sort.
class Ranks {
 public:
  Ranks(std::span<const double> samples, double min, double max)
      : min_(min), scale_((kBins - 1) / (max - min)), begin_(kBins + 1), at_(kBins, kUnwanted) {
    for (const double sample : samples) ++begin_[bin(sample) + 1];
    for (std::size_t i = 1; i < begin_.size(); ++i) begin_[i] += begin_[i - 1];
    std::uint32_t size = 0;
    for (const Percentile& percentile : kPercentiles) {
      const Place place = place_of(samples.size(), percentile.p);
      for (const std::size_t wanted : {bin_of(place.below), bin_of(place.above)}) {
        if (at_[wanted] != kUnwanted) continue;
        at_[wanted] = size;
        size += begin_[wanted + 1] - begin_[wanted];
      }
    }
    kept_.resize(size);
    std::vector<std::uint32_t> next = at_;
    for (const double sample : samples) {
      std::uint32_t& to = next[bin(sample)];
      if (to != kUnwanted) kept_[to++] = sample;
    }
    for (std::size_t b = 0; b < kBins; ++b) {
      if (at_[b] != kUnwanted) std::sort(kept_.begin() + at_[b], kept_.begin() + next[b]);
    }
  }

  [[nodiscard]] double operator()(std::size_t rank) const {
    const std::size_t b = bin_of(rank);
    return kept_[at_[b] + rank - begin_[b]];
  }

 private:
  static constexpr std::size_t kBins = 2048;
  static constexpr std::uint32_t kUnwanted = std::numeric_limits<std::uint32_t>::max();
  /// Rounding is monotonic, so a larger sample never lands in a lower bin.
  [[nodiscard]] std::size_t bin(double sample) const {
    return static_cast<std::size_t>((sample - min_) * scale_);
  }
  [[nodiscard]] std::size_t bin_of(std::size_t rank) const {
    return static_cast<std::size_t>(std::upper_bound(begin_.begin(), begin_.end(), rank) -
                                    begin_.begin() - 1);
  }

  double min_, scale_;
  std::vector<std::uint32_t> begin_;  ///< [bin]: samples in lower bins
  std::vector<std::uint32_t> at_;     ///< [bin]: its first sample in `kept_`
  std::vector<double> kept_;
};

}  // namespace

double percentile(const std::vector<double>& sorted, double p) {
  MOESIM_CHECK(!sorted.empty(), "a percentile is of at least one sample");
  MOESIM_CHECK(p >= 0 && p <= 100, "a percentile lies in 0 to 100");
  const auto sample = [&](std::size_t i) { return sorted[i]; };
  return percentile_of(sorted.size(), p, sample);
}

Summary summarize(std::vector<double> samples) {
  Summary result;
  result.count = samples.size();
  if (samples.empty()) return result;
  const auto count = static_cast<double>(samples.size());
  double sum = 0, min = samples.front(), max = min;
  for (const double sample : samples) {
    sum += sample;
    min = std::min(min, sample);
    max = std::max(max, sample);
  }
  result.min = min;
  result.max = max;
  const double mean = result.mean = sum / count;
  double squares = 0;
  for (const double sample : samples) squares += (sample - mean) * (sample - mean);
  result.std = std::sqrt(squares / count);
  constexpr std::size_t kFew = 256;  // as quick to sort
  if (samples.size() > kFew && samples.size() < std::numeric_limits<std::uint32_t>::max() &&
      std::isnormal(max - min)) {
    fill_percentiles(result, Ranks(samples, min, max));
  } else {
    if (max > min) std::sort(samples.begin(), samples.end());
    fill_percentiles(result, [&](std::size_t i) { return samples[i]; });
  }
  return result;
}

void LogHistogram::cover(std::size_t begin, std::size_t end) {
  begin = begin / kPerOctave * kPerOctave;
  end = (end + kPerOctave - 1) / kPerOctave * kPerOctave;
  if (!counts_.empty()) {
    begin = std::min(begin, first_);
    end = std::max(end, first_ + counts_.size());
    counts_.insert(counts_.begin(), first_ - begin, 0);
  }
  first_ = begin;
  counts_.resize(end - begin);
}

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
  if (!other.counts_.empty()) cover(other.first_, other.first_ + other.counts_.size());
  for (std::size_t i = 0; i < other.counts_.size(); ++i)
    counts_[other.first_ - first_ + i] += other.counts_[i];
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
    cells.push_back({first_ + i, before, static_cast<std::size_t>(counts_[i])});
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
  const std::size_t end = bucket(value) + 1;
  std::int64_t result = 0;
  for (std::size_t i = 0; i < counts_.size() && first_ + i < end; ++i) result += counts_[i];
  return result;
}

}  // namespace moesim
