#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace moesim {

/// A rate of one run: a sum over requests by another one. NaN for requests that do not count.
struct RequestRatio {
  const std::vector<double>& top;
  const std::vector<double>& bottom;
  double reported = 0;  ///< what the ratio of the whole run is called: sets its unit
};

/// Differences of two runs with the same requests, resampled in blocks: see compare.h.
class PairedBootstrap {
 public:
  static constexpr std::size_t kBlocks = 20;
  static constexpr std::size_t kResamples = 200;
  static constexpr std::array<double, 3> kPercentiles{50, 90, 99};

  explicit PairedBootstrap(std::uint64_t seed);

  /// The difference in every resample: of the mean, then of the percentiles above. Empty if fewer
  /// than two requests a block have the metric in both runs.
  using Differences = std::vector<double>;
  using OfSummary = std::array<Differences, 1 + kPercentiles.size()>;
  [[nodiscard]] OfSummary difference(const std::vector<double>& base,
                                     const std::vector<double>& variant) const;
  /// Of two rates; also empty if a resample has no rate.
  [[nodiscard]] Differences difference(const RequestRatio& base, const RequestRatio& variant) const;

  /// How often every block was drawn.
  using Draw = std::array<double, kBlocks>;

 private:
  std::vector<Draw> draws_;
};

}  // namespace moesim
