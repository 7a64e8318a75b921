#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moesim {

/// Percentile by linear interpolation on sorted samples (NumPy's default). `p` in 0..100.
/// Precondition: `sorted` is ascending and not empty.
[[nodiscard]] double percentile(const std::vector<double>& sorted, double p);

/// Summary of a sample; sums in the order given. `count` 0 leaves the rest at 0 (writers omit it).
struct Summary {
  std::size_t count = 0;
  double mean = 0, std = 0, min = 0, max = 0;
  double p1 = 0, p5 = 0, p25 = 0, p50 = 0, p75 = 0, p90 = 0, p95 = 0, p99 = 0;
};
/// Population standard deviation (NumPy's default).
[[nodiscard]] Summary summarize(std::vector<double> samples);

/// Log-linear histogram of positive integers (nanoseconds) with 0.1 % relative width: values below
/// 2^11 exactly, above that 2^10 buckets an octave. Weighted; merging is exact (integer counts).
/// Memory is that of the octaves between the smallest and the largest value: 8 KiB each.
class LogHistogram {
 public:
  void add(std::int64_t value, std::int64_t weight) {
    std::size_t at = bucket(value) - first_;
    if (at >= counts_.size()) [[unlikely]] {  // also below first_: the difference wraps
      cover(at + first_, at + first_ + 1);
      at = bucket(value) - first_;
    }
    counts_[at] += weight;
    total_ += weight;
    sum_ += static_cast<Int128>(value) * weight;
  }
  void merge(const LogHistogram& other);
  [[nodiscard]] std::int64_t count() const { return total_; }
  /// Percentiles interpolate linearly inside a bucket; mean is exact.
  [[nodiscard]] Summary summary() const;
  /// How many of the added values lie at or below `value` (whole buckets). For Prometheus.
  [[nodiscard]] std::int64_t count_at_or_below(std::int64_t value) const;
  [[nodiscard]] double sum() const { return static_cast<double>(sum_); }

 private:
  // 10^9 tokens of 10 s each pass 2^63 ns; whole numbers keep merging exact in any order.
  __extension__ using Int128 = __int128;
  static std::size_t bucket(std::int64_t value);
  static double lower_edge(std::size_t bucket);
  void cover(std::size_t begin, std::size_t end);  ///< makes room for these buckets
  std::size_t first_ = 0;                          ///< bucket of counts_[0]
  std::vector<std::int64_t> counts_;
  std::int64_t total_ = 0;
  Int128 sum_ = 0;
};

}  // namespace moesim
