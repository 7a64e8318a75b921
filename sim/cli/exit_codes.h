#pragma once

namespace moesim {

/// Exit codes of glossary 3.
inline constexpr int kExitOk = 0;
inline constexpr int kExitNothingFeasible = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitBadInput = 3;
inline constexpr int kExitOutsideCalibration = 4;
inline constexpr int kExitInternal = 70;
inline constexpr int kExitInterrupted = 130;

}  // namespace moesim
