#pragma once

#include <string>
#include <vector>

#include "hardware/profile.h"
#include "hardware/system.h"

namespace moesim {

/// What a kernel profile says that no kernel does.
struct PhysicsFinding {
  bool error = false;  ///< else a warning
  std::string key;     ///< "ops.3 (moe triton bfloat16)"
  std::string problem, hint;
};

/// Sweeps every curve over sizes that models have and judges it by steptime.md 5.2 and
/// calibration.md 10: times are positive and finite; they do not fall as work grows, by more than
/// 15 % from one size to its double; they do not jump by more than 15 % from one token to the next
/// inside a tile; they do not beat the datasheet by more than 5 %; spreads are at most 1 (a factor
/// of e) and median errors on shapes left out at most 15 %. Real kernels break each of these a
/// little (tiles, algorithms, L2), so they are warnings. Errors: a time that is none, or wrong by
/// 2, as much as a table may correct its form.
[[nodiscard]] std::vector<PhysicsFinding> check_physics(const KernelProfile& profile,
                                                        const SystemSpec& system);

}  // namespace moesim
