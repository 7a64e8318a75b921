#pragma once

#include <span>
#include <string>
#include <vector>

#include "calibrate/fit/sample.h"

namespace moesim {

/// What samples say that no kernel does: one line per (system, op, kernel, dtype) with samples that
/// beat the datasheet by more than hardware/kernel_floor.h allows: how many, by how much at worst,
/// and which. Suspect samples are passed over. Systems that are not shipped are named, not judged.
[[nodiscard]] std::vector<std::string> check_sample_physics(std::span<const KernelSample> samples);

}  // namespace moesim
