#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hardware/kernel_library.h"
#include "hardware/system.h"
#include "hardware/tuned_experts.h"
#include "models/model.h"
#include "sim/steptime/kernel_model.h"

namespace moesim {

/// A curve made ready for queries on the simulated device.
struct ReadyCurve {
  FoundCurve found;          ///< curve null: in no profile
  DeviceCeilings device;     ///< of the simulated system, for the curve's number format
  double input_bytes = 2;    ///< per activation element the kernel multiplies
  bool tuned_tiles = false;  ///< Triton's experts in 16 bit: some layers have tiles of their own
};

/// Step-time operators from measured kernel profiles: form times efficiency table, a donor where
/// the system's own profile has nothing, the datasheet roofline where no profile has
/// (steptime.md 1-2). Provenance says which. Queries allocate nothing.
class Measured final : public KernelModel {
 public:
  /// `roofline` answers what no profile can. `noise` moves every family of operators by its spread.
  /// Curves are looked up for the number formats of `precisions` alone. `nvlink_gpus`: of the
  /// tensor-parallel group, if one node's NVLink joins all of them; else 1.
  Measured(const KernelChoice& choice, const SystemSpec& system, const Precisions& precisions,
           int nvlink_gpus, std::unique_ptr<KernelModel> roofline, const FamilyNoise& noise);
  [[nodiscard]] KernelTime time(const Op& op) const override;
  [[nodiscard]] bool attends_mixed_batches() const override { return mixes_; }
  [[nodiscard]] KernelTime mixed_attention(const Op& prompts, const Op& decodes) const override;
  [[nodiscard]] std::vector<KernelOrigin> origins(const ModelSpec& model) const override;

 private:
  [[nodiscard]] KernelTime answer(const ReadyCurve& ready, const KernelShape& shape,
                                  OperatorFamily family) const;
  [[nodiscard]] KernelTime fallback(const Op& op, OperatorFamily family) const;
  [[nodiscard]] KernelTime gemm(const Op& op) const;
  [[nodiscard]] KernelTime grouped(const Op& op) const;
  [[nodiscard]] KernelTime attention(const Op& op) const;
  [[nodiscard]] KernelTime latent_decode(const Op& op) const;
  [[nodiscard]] KernelTime latent_prefill(const Op& op) const;
  [[nodiscard]] KernelTime streamed(const Op& op) const;
  [[nodiscard]] KernelTime all_reduce(const Op& op) const;

  static constexpr std::size_t kFormats = static_cast<std::size_t>(NumberFormat::kNvfp4) + 1;
  std::unique_ptr<KernelModel> roofline_;
  FamilyNoise noise_;
  std::string framework_;
  std::span<const TunedExperts> tuned_;
  Seconds launch_;  ///< between two kernels of a graph
  int nvlink_gpus_;
  std::array<ReadyCurve, kFormats> gemm_;
  ReadyCurve experts_, experts_ungated_, decode_, prefill_, mla_decode_, mla_prefill_, mla_absorb_,
      mla_unfold_;
  ReadyCurve norm_, rotary_, activation_, embedding_, sampler_;
  ReadyCurve custom_all_reduce_, nccl_all_reduce_;
  bool all_tokens_ = false;  ///< the experts' table has the tokens of all ranks
  bool mixes_ = false;       ///< batches of prompts and decodes were measured in one kernel
  NumberFormat attention_format_;
  bool expands_apart_ = false;  ///< the table of latent prompts is without their expansion
};

}  // namespace moesim
