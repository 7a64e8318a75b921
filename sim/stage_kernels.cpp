#include "sim/stage_kernels.h"

#include <utility>

#include "sim/steptime/roofline.h"

namespace moesim {

KernelChoice kernel_choice(const Scenario& scenario, const InstanceInfo& info, std::size_t node) {
  const SystemSpec& system = scenario.cluster.nodes[node].system;
  const KernelSource& source = scenario.kernels[node];
  KernelChoice choice;
  choice.none = source.roofline;
  choice.system = system.name;
  choice.sm_version = system.gpu.sm_version;
  // Static batches are what vLLM's kernels would do without its scheduler.
  choice.framework =
      info.engine.profile.backend == "static_batch" ? "vllm" : info.engine.profile.backend;
  choice.version = info.engine.profile.version;
  choice.moe_backend = info.engine.moe_backend;
  if (info.parallel.expert_parallel && info.parallel.dp > 1)
    choice.all2all = info.engine.all2all_backend;
  choice.file = source.file;
  return choice;
}

double fused_norm_bytes(const EngineProfile& profile, const ModelSpec& model, int sm_version,
                        const Parallel& parallel) {
  constexpr int kHopper = 90, kBlackwell = 100, kConsumer = 120;
  const bool hopper = sm_version == kHopper;
  const bool blackwell = sm_version >= kBlackwell && sm_version < kConsumer;
  const FusedNorms where = profile.fused_norms;
  const bool here = (hopper && (where == FusedNorms::kHopper || where == FusedNorms::kBoth)) ||
                    (blackwell && (where == FusedNorms::kBlackwell || where == FusedNorms::kBoth));
  const std::string names = ',' + profile.fused_norm_models + ',';
  const bool known = profile.fused_norm_models.empty() ||
                     names.find(',' + model.model_type + ',') != std::string::npos;
  if (!here || !known || parallel.sequence_parallel()) return 0;
  constexpr double kMiB = 1 << 20;
  switch (parallel.tp) {
    case 2:
      return 64 * kMiB;
    case 4:
      return (hopper ? 2 : 32) * kMiB;
    case 8:
      return (hopper ? 0.5 : 1) * kMiB;
    default:
      return 0;
  }
}

std::unique_ptr<KernelModel> make_kernels(const Scenario& scenario, const InstanceInfo& info,
                                          StagePlace place, const Collectives& collectives,
                                          const FamilyNoise& noise, KernelLog* log) {
  const SystemSpec& system = scenario.cluster.nodes[place.node].system;
  const int nvlink_gpus = place.nvlink ? static_cast<int>(place.tp_gpus.size()) : 1;
  auto roofline =
      std::make_unique<Roofline>(system, collectives, std::move(place.tp_gpus), place.next_gpu);
  auto kernels = std::make_unique<Measured>(kernel_choice(scenario, info, place.node), system,
                                            scenario.model.precisions, nvlink_gpus,
                                            std::move(roofline), noise);
  if (log == nullptr) return kernels;
  return logged(std::move(kernels), *log);
}

}  // namespace moesim
