#include "sim/steptime/roofline.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace moesim {

Roofline::Roofline(const SystemSpec& system, const Collectives& collectives,
                   std::vector<int> tp_gpus, int next_stage_gpu)
    : system_(system),
      collectives_(&collectives),
      tp_gpus_(std::move(tp_gpus)),
      next_stage_gpu_(next_stage_gpu) {}

/// Peak of the tensor-core path the engines take for weights of this format. Weight-only formats
/// (int4, MXFP4 before Blackwell) are unpacked and multiplied in 16 bit:
/// serving-semantics 2.3, 3.3.
FlopsPerSecond Roofline::peak(NumberFormat format) const {
  const GpuSpec& gpu = system_.gpu;
  const FlopsPerSecond none(0);
  switch (format) {
    case NumberFormat::kFp8:
    case NumberFormat::kFp8Block:
      return gpu.fp8_peak > none ? gpu.fp8_peak : gpu.bf16_peak;
    case NumberFormat::kInt8:
      return gpu.int8_peak > none ? gpu.int8_peak : gpu.bf16_peak;
    case NumberFormat::kNvfp4:
    case NumberFormat::kMxfp4:
      return gpu.fp4_peak > none ? gpu.fp4_peak : gpu.bf16_peak;
    default:
      return gpu.bf16_peak;
  }
}

Seconds Roofline::bound(const Op& op, double compute_efficiency, double memory_efficiency) const {
  const Seconds compute = Flops(op.flops) / (compute_efficiency * peak(op.weight_format));
  const double bytes = op.weight_bytes + op.activation_bytes;
  const Seconds memory(bytes / (memory_efficiency * system_.gpu.mem_bw).value());
  return std::max(compute, memory) + system_.efficiency.kernel_launch;
}

KernelTime Roofline::time(const Op& op) const {
  const RooflineEfficiency& eff = system_.efficiency;
  switch (op.kind) {
    case OpKind::kGemm:
      return {bound(op, eff.gemm, eff.memory), Provenance::kRoofline};
    case OpKind::kGroupedGemm:
      return {bound(op, eff.grouped_gemm, eff.memory), Provenance::kRoofline};
    case OpKind::kAttentionDecode:
    case OpKind::kAttentionPrefill:
    case OpKind::kMlaDecode:
    case OpKind::kMlaPrefill:
      return {bound(op, eff.attention_compute, eff.kv_memory), Provenance::kRoofline};
    case OpKind::kElementwise:
    case OpKind::kSampling:
      return {bound(op, eff.gemm, eff.memory), Provenance::kRoofline};
    case OpKind::kAllReduce: {
      const Bytes bytes(std::llround(op.message_bytes));
      return {collectives_->cost({CollectiveKind::kAllReduce, bytes, tp_gpus_}).time,
              Provenance::kRoofline};
    }
    case OpKind::kSendRecv: {
      if (next_stage_gpu_ < 0) return {Seconds(0), Provenance::kRoofline};
      const Bytes bytes(std::llround(op.message_bytes));
      return {collectives_->send(bytes, tp_gpus_.front(), next_stage_gpu_), Provenance::kRoofline};
    }
  }
  return {};
}

}  // namespace moesim
