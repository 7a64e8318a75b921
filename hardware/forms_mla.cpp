#include <algorithm>
#include <cmath>

#include "hardware/forms_list.h"

namespace moesim {

namespace {

// Absorbed decode: every sequence reads its latents once for all heads (serving-semantics 4.2).
// head_dim is the latent with its rotary part (512 + 64); values are its first 512.
double mla_decode_seconds(const KernelShape& s, std::span<const double> c,
                          const DeviceCeilings& d) {
  const double launch = c[0], bandwidth = c[1], efficiency = c[2], power = c[3], chain = c[4],
               per_sequence = c[5];
  const double memory = s.kv_tokens * s.head_dim * s.kv_bytes / (bandwidth * d.memory_bandwidth);
  // Heads fill tiles of 64 query rows.
  const double rows = std::ceil(s.heads / 64) * 64;
  const double compute = 2 * rows * (2 * s.head_dim - 64) * s.kv_tokens / (efficiency * d.peak);
  const double splits = std::max(1.0, d.sms / s.batch);
  const double serial = chain * 1e-9 * std::max(s.longest / splits, std::min(s.longest, 128.0));
  return launch * 1e-6 + soft_max(soft_max(memory, compute, power), serial, power) +
         per_sequence * 1e-6 * s.batch * s.heads / d.sms;
}

Coordinates mla_decode_coordinates(const KernelShape& s) {
  return {std::log2(std::max(1.0, s.kv_tokens)), std::log2(s.batch), std::log2(s.heads)};
}

double mla_prefill_seconds(const KernelShape& s, std::span<const double> c,
                           const DeviceCeilings& d) {
  const double launch = c[0], bandwidth = c[1], efficiency = c[2], power = c[3], chain = c[4];
  const double per_sequence = s.queries / s.batch;
  const double tile = per_sequence <= 64 ? 16 : 128;
  const double pairs = s.pairs_qk * std::ceil(per_sequence / tile) * tile / per_sequence;
  const double compute = 2 * s.heads * (192 + 128) * pairs / (efficiency * d.peak);
  const double bytes = 2 * (s.queries + s.kv_tokens) * s.heads * (192 + 128);
  const double memory = bytes / (bandwidth * d.memory_bandwidth);
  const double serial = chain * 1e-9 * s.longest;
  return launch * 1e-6 + soft_max(soft_max(memory, compute, power), serial, power);
}

Coordinates mla_prefill_coordinates(const KernelShape& s) {
  return {std::log2(s.queries / s.batch), std::log2(s.batch), std::log2(s.heads)};
}

}  // namespace

const Form& mla_decode_form() {
  static const Form form{"mla_decode",
                         {{"launch_us", 10, 1, 80},
                          {"bandwidth", 0.7, 0.05, 1.05},
                          {"efficiency", 0.5, 0.02, 1.05},
                          {"power", 2, 1.05, 8},
                          {"chain_ns_per_key", 10, 0.1, 300},
                          {"head_us", 0.5, 0.001, 20}},
                         mla_decode_seconds,
                         {"log2 KV tokens", "log2 batch", "log2 heads"},
                         mla_decode_coordinates};
  return form;
}

const Form& mla_prefill_form() {
  static const Form form{"mla_prefill",
                         {{"launch_us", 10, 1, 80},
                          {"bandwidth", 0.6, 0.05, 1.05},
                          {"efficiency", 0.5, 0.02, 1.05},
                          {"power", 2, 1.05, 8},
                          {"chain_ns_per_key", 10, 0.1, 300}},
                         mla_prefill_seconds,
                         {"log2 queries per sequence", "log2 batch", "log2 heads"},
                         mla_prefill_coordinates};
  return form;
}

}  // namespace moesim
