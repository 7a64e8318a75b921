#pragma once

#include <span>
#include <string>
#include <vector>

#include "calibrate/fit/sample.h"
#include "hardware/profile.h"
#include "hardware/system.h"

namespace moesim {

/// Samples of a system and framework; those that name neither belong to every one.
[[nodiscard]] std::vector<KernelSample> select_samples(std::span<const KernelSample> samples,
                                                       const std::string& system,
                                                       const std::string& framework);

/// Samples of one (op, kernel, dtype) that made no curve, and why.
struct NoCurve {
  std::string op, kernel, dtype;
  std::size_t samples = 0;
  std::string reason;
};

/// Fits one curve per (op, kernel, dtype) of the samples, in that order. Returns those left out:
/// operators without a form, fewer than eight samples, fewer than three that are not suspect. Fills
/// `sm_version`, `curves` and the samples' digest of `profile`, whose names and provenance the
/// caller has set. Deterministic.
[[nodiscard]] std::vector<NoCurve> fit_profile(std::span<const KernelSample> samples,
                                               const SystemSpec& system, KernelProfile& profile);

/// The report beside a profile: errors by curve, Markdown.
[[nodiscard]] std::string fit_report(const KernelProfile& profile);

}  // namespace moesim
