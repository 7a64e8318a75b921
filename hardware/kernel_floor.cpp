#include "hardware/kernel_floor.h"

#include <algorithm>

namespace moesim {

namespace {

/// What a call must at least multiply, read and send.
struct Work {
  double flops = 0;
  double bytes = 0;  ///< from memory: weights, cached keys, streams
  double link = 0;   ///< bytes a GPU sends inside its node
  double nic = 0;    ///< and to other nodes
};

Work attention_work(const KernelShape& s) {
  const double scores = s.pairs_qk + s.decode_tokens;
  const double keys = s.kv_tokens + s.decode_tokens;
  return {.flops = 4 * scores * s.heads * s.head_dim,
          .bytes = 2 * keys * s.kv_heads * s.head_dim * s.kv_bytes};
}

/// DeepSeek-V3's latent attention (forms_mla.cpp): latents of 512 with 64 rotary values, expanded
/// heads of 192 for scores and 128 for values.
Work mla_work(const std::string& op, const KernelShape& s) {
  if (op == "mla_generation")
    return {.flops = 2 * s.heads * (2 * s.head_dim - 64) * s.kv_tokens,
            .bytes = s.kv_tokens * s.head_dim * s.kv_bytes};
  if (op == "mla_context") return {.flops = 2 * s.heads * (192 + 128) * s.pairs_qk};
  return {.flops = 2 * s.heads * s.m * s.n * s.k, .bytes = s.heads * s.n * s.k * s.weight_bytes};
}

/// A message leaves its GPU once, but for the part that stays, whoever adds it up on the way.
Work message_work(const KernelShape& s) {
  if (s.nodes > 1) return {.nic = s.bytes * (1 - 1 / s.nodes) * s.nodes / std::max(1.0, s.gpus)};
  return {.link = s.bytes * (1 - 1 / std::max(1.0, s.gpus))};
}

Work dispatch_work(const KernelShape& s) {
  if (s.nodes > 1) return {.nic = s.nic_bytes};
  return message_work(s);
}

Work work_of(const std::string& op, const KernelShape& s) {
  if (op == "gemm") return {.flops = 2 * s.m * s.n * s.k, .bytes = s.n * s.k * s.weight_bytes};
  if (op == "moe" || op == "moe_deepgemm") {
    const double expert = s.matrices * s.hidden * s.inter;
    return {.flops = 2 * s.pairs * expert, .bytes = s.active * expert * s.weight_bytes};
  }
  if (op.starts_with("attention_")) return attention_work(s);
  if (op.starts_with("mla_")) return mla_work(op, s);
  if (op == "nccl" || op == "custom_allreduce") return message_work(s);
  if (op.starts_with("deepep_")) return dispatch_work(s);
  if (op == "stream" || op == "sampler") return {.bytes = s.bytes};
  return {};
}

double over(double work, double rate) {
  return rate > 0 ? work / rate : 0;
}

}  // namespace

Seconds least_time(const std::string& op, const KernelShape& shape, const DeviceCeilings& device) {
  const Work work = work_of(op, shape);
  const double kept = device.cold ? 0 : device.l2_bytes;
  return Seconds(
      std::max({over(work.flops, device.peak),
                over(std::max(0.0, work.bytes - kept), device.memory_bandwidth),
                over(work.link, device.link_bandwidth), over(work.nic, device.nic_bandwidth)}));
}

}  // namespace moesim
