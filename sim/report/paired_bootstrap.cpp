#include "sim/report/paired_bootstrap.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/base/random.h"

namespace moesim {
namespace {

constexpr std::size_t kBlocks = PairedBootstrap::kBlocks;
constexpr auto& kPercentiles = PairedBootstrap::kPercentiles;
using Draw = PairedBootstrap::Draw;
/// Mean, then the percentiles.
using Estimates = std::array<double, 1 + kPercentiles.size()>;

/// One metric of one run, sorted once so that a resample is one pass.
class BlockedSample {
 public:
  /// Keeps the rows in `keep`, which are the same for both runs.
  BlockedSample(const std::vector<double>& values, const std::vector<std::size_t>& keep) {
    values_.reserve(keep.size());
    for (std::size_t i = 0; i < keep.size(); ++i)
      values_.emplace_back(values[keep[i]], static_cast<std::uint32_t>(i * kBlocks / keep.size()));
    for (const auto& [value, block] : values_) {
      sums_[block] += value;
      counts_[block] += 1;
    }
    std::sort(values_.begin(), values_.end());
  }

  [[nodiscard]] Estimates estimate(const Draw& draw) const {
    double sum = 0;
    double count = 0;
    for (std::size_t b = 0; b < kBlocks; ++b) {
      sum += draw[b] * sums_[b];
      count += draw[b] * counts_[b];
    }
    Estimates out{};
    out[0] = sum / count;
    double below = 0;
    std::size_t next = 0;
    for (const auto& [value, block] : values_) {
      below += draw[block];
      while (next < kPercentiles.size() && below > kPercentiles[next] / 100 * (count - 1))
        out[1 + next++] = value;
      if (next == kPercentiles.size()) break;
    }
    return out;
  }

 private:
  std::vector<std::pair<double, std::uint32_t>> values_;
  std::array<double, kBlocks> sums_{}, counts_{};
};

/// A rate of one run: a sum over requests by a sum over requests, and what the reported rate makes
/// of it (GPUs, dollars).
class BlockedRatio {
 public:
  BlockedRatio(const RequestRatio& ratio, const std::vector<std::size_t>& keep) {
    double all_top = 0;
    double all_bottom = 0;
    for (std::size_t i = 0; i < keep.size(); ++i) {
      const std::size_t row = keep[i];
      const std::size_t block = i * kBlocks / keep.size();
      if (std::isnan(ratio.top[row]) || std::isnan(ratio.bottom[row]))
        continue;  // counts in the other run only
      all_top += ratio.top[row];
      all_bottom += ratio.bottom[row];
      top_[block] += ratio.top[row];
      bottom_[block] += ratio.bottom[row];
    }
    scale_ = ratio.reported * all_bottom / all_top;
  }

  /// Not finite if the drawn requests make no ratio.
  [[nodiscard]] double estimate(const Draw& draw) const {
    double top = 0;
    double bottom = 0;
    for (std::size_t b = 0; b < kBlocks; ++b) {
      top += draw[b] * top_[b];
      bottom += draw[b] * bottom_[b];
    }
    return scale_ * top / bottom;
  }

 private:
  std::array<double, kBlocks> top_{}, bottom_{};
  double scale_ = 0;
};

}  // namespace

PairedBootstrap::PairedBootstrap(std::uint64_t seed) : draws_(kResamples) {
  Rng rng(seed, "comparison");
  for (Draw& draw : draws_) {
    draw.fill(0);
    for (std::size_t i = 0; i < kBlocks; ++i) draw[rng.below(kBlocks)] += 1;
  }
}

PairedBootstrap::OfSummary PairedBootstrap::difference(const std::vector<double>& base,
                                                       const std::vector<double>& variant) const {
  OfSummary out;
  if (base.size() != variant.size()) return out;
  std::vector<std::size_t> keep;
  for (std::size_t i = 0; i < base.size(); ++i) {
    if (!std::isnan(base[i]) && !std::isnan(variant[i])) keep.push_back(i);
  }
  if (keep.size() < 2 * kBlocks) return out;
  const BlockedSample a(base, keep);
  const BlockedSample b(variant, keep);
  for (const Draw& draw : draws_) {
    const Estimates before = a.estimate(draw);
    const Estimates after = b.estimate(draw);
    for (std::size_t i = 0; i < before.size(); ++i) out[i].push_back(after[i] - before[i]);
  }
  return out;
}

PairedBootstrap::Differences PairedBootstrap::difference(const RequestRatio& base,
                                                         const RequestRatio& variant) const {
  if (base.top.size() != variant.top.size()) return {};
  std::vector<std::size_t> keep;
  for (std::size_t row = 0; row < base.top.size(); ++row) {
    if (!std::isnan(base.top[row]) || !std::isnan(variant.top[row])) keep.push_back(row);
  }
  if (keep.size() < 2 * kBlocks) return {};
  const BlockedRatio a(base, keep);
  const BlockedRatio b(variant, keep);
  std::vector<double> differences;
  for (const Draw& draw : draws_) {
    differences.push_back(b.estimate(draw) - a.estimate(draw));
    if (!std::isfinite(differences.back())) return {};
  }
  return differences;
}

}  // namespace moesim
