#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "hardware/collective.h"
#include "scenarios/scenario.h"
#include "sim/kernel_log.h"
#include "sim/report/deployment.h"
#include "sim/steptime/kernel_model.h"
#include "sim/steptime/measured.h"

namespace moesim {

/// Where one pipeline stage runs.
struct StagePlace {
  std::size_t node;
  std::vector<int> tp_gpus;
  int next_gpu;  ///< of the next stage, -1 for the last
  bool nvlink;   ///< one node's joins all of `tp_gpus`
};

/// Which measured kernels an instance on a node asks for.
[[nodiscard]] KernelChoice kernel_choice(const Scenario& scenario, const InstanceInfo& info,
                                         std::size_t node);

/// Largest all-reduce of hidden states, bytes, that adds the residual and normalises in the same
/// kernel; 0: none does. Sizes of FlashInfer's kernels (serving-semantics 4.4), which are
/// TensorRT-LLM's: for 2, 4 and 8 ranks. Precondition: NVLink connects the ranks.
[[nodiscard]] double fused_norm_bytes(const EngineProfile& profile, const ModelSpec& model,
                                      int sm_version, const Parallel& parallel);

/// The kernels of one pipeline stage: measured profiles, unless the scenario asks for the
/// datasheet. `log` may be null.
[[nodiscard]] std::unique_ptr<KernelModel> make_kernels(const Scenario& scenario,
                                                        const InstanceInfo& info, StagePlace place,
                                                        const Collectives& collectives,
                                                        const FamilyNoise& noise, KernelLog* log);

}  // namespace moesim
