#pragma once

#include <span>
#include <vector>

#include "calibrate/fit/sample.h"
#include "hardware/profile.h"
#include "hardware/system.h"

namespace moesim {

/// One curve per (op, kernel, dtype) among the samples, in that order. All samples must be of one
/// system and framework. Deterministic; the caller fills system, framework, version and provenance.
[[nodiscard]] std::vector<KernelCurve> fit_curves(std::span<const KernelSample> samples,
                                                  const SystemSpec& system);

}  // namespace moesim
