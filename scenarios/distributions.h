#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/base/random.h"

namespace moesim {

/// Standard deviation of ln(x) for a lognormal with this mean and 99th percentile, or nothing if
/// none has both (p99 below the mean, or above 14.97 times it).
[[nodiscard]] std::optional<double> lognormal_sigma(double mean, double p99);

/// Draws from a distribution, which must outlive it. Runs that differ only in the numbers of a
/// distribution use the same random numbers and so stay paired.
class Sampler {
 public:
  explicit Sampler(const Distribution& distribution);
  /// One value, not rounded (`uniform`: anywhere between its ends).
  [[nodiscard]] double value(Rng& rng) const;
  /// One value as a count: rounded to nearest (`uniform`: a whole number, both ends included), 1 to
  /// 2^30 (longer than any context).
  [[nodiscard]] std::uint32_t count(Rng& rng) const;

 private:
  const Distribution& distribution_;
  double mu_ = 0, sigma_ = 0;  ///< of ln(x), lognormal only
};

/// "lognormal, mean 1154.7, p99 4142", for the report.
[[nodiscard]] std::string to_text(const Distribution& distribution);

/// Samples of a file for `empirical`, plain or gzip: one number a line, or a CSV with a header line
/// that has `column` (or only one column). Throws InputError with file and line.
[[nodiscard]] std::vector<double> read_samples(const std::filesystem::path& path,
                                               const std::string& column);

}  // namespace moesim
