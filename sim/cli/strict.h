#pragma once

#include <string>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/kernel_log.h"
#include "sim/report/result.h"

namespace moesim {

/// Operators whose times are not calibrated: neither measured nor interpolated.
struct Uncalibrated {
  std::string term;        ///< of the breakdown
  std::string op;          ///< as in KernelLog; empty where none was asked for
  std::string provenance;  ///< why
  std::string curves;      ///< that answered: "triton bfloat16 of a100_sxm/vllm-0.19"
  double share = 0;        ///< of the step time
};
/// Most time first. Shares of a class of provenance add up to the run's; how it is divided among
/// operators follows the breakdown and, inside a term, the shapes that occurred.
[[nodiscard]] std::vector<Uncalibrated> uncalibrated(const RunResult& result,
                                                     const KernelLog& kernels);

/// What --strict refuses a run for, with its operators and a hint; empty if all of it is
/// calibrated.
[[nodiscard]] std::string refusal(const std::string& name, const Scenario& scenario,
                                  const RunResult& result, const KernelLog& kernels);

}  // namespace moesim
