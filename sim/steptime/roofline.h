#pragma once

#include <vector>

#include "hardware/collective.h"
#include "hardware/system.h"
#include "sim/steptime/kernel_model.h"

namespace moesim {

/// Datasheet roofline with stated efficiencies:
///   t = max(flops / (peak * eff), bytes / (bandwidth * eff)) + launch
/// (S. Williams, A. Waterman, D. Patterson, CACM 52(4), 2009). The efficiencies are the system's,
/// each with its source (hardware/systems). It knows no tiles and no waves: expect it to be
/// optimistic for small GEMMs.
class Roofline final : public KernelModel {
 public:
  /// `tp_gpus` are the cluster GPUs of one TP group, `next_stage_gpu` the receiver of pipeline
  /// messages
  /// (-1: none). `collectives` must outlive the model.
  Roofline(const SystemSpec& system, const Collectives& collectives, std::vector<int> tp_gpus,
           int next_stage_gpu);
  [[nodiscard]] KernelTime time(const Op& op) const override;

 private:
  [[nodiscard]] FlopsPerSecond peak(NumberFormat format) const;
  [[nodiscard]] Seconds bound(const Op& op, double compute_efficiency,
                              double memory_efficiency) const;

  SystemSpec system_;
  const Collectives* collectives_;
  std::vector<int> tp_gpus_;
  int next_stage_gpu_;
};

}  // namespace moesim
