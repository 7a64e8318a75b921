#include <algorithm>
#include <cmath>

#include "hardware/forms_list.h"

namespace moesim {

namespace {

// A sequence's keys and values per KV head are one chain of CTAs; split-KV cuts long chains so that
// all SMs work. With few (sequence, KV head) pairs the longest piece sets the time.
double decode_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double launch = c[0], bandwidth = c[1], power = c[2], chain = c[3], per_pair = c[4],
               split = c[5];
  const double kv = s.kv_tokens * 2 * s.kv_heads * s.head_dim * s.kv_bytes;
  const double groups = s.batch * s.kv_heads;
  const double memory = kv / (bandwidth * d.memory_bandwidth);
  // Splits bring the number of CTAs up to `split` per SM, as far as there are keys to split.
  const double splits = std::max(1.0, split * d.sms / groups);
  const double serial = chain * 1e-9 * std::max(s.longest / splits, std::min(s.longest, 128.0));
  const double waves = per_pair * 1e-6 * groups / d.sms;
  return launch * 1e-6 + soft_max(memory, serial, power) + waves;
}

Coordinates decode_coordinates(const KernelShape& s) {
  const double kv = s.kv_tokens * 2 * s.kv_heads * s.head_dim * s.kv_bytes;
  return {std::log2(std::max(1.0, kv)), std::log2(s.batch * s.kv_heads),
          std::log2(s.heads / s.kv_heads), std::log2(s.head_dim)};
}

// Causal flops over queries padded to the tile; the longest row of tiles is a floor.
double prefill_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double launch = c[0], bandwidth = c[1], efficiency = c[2], power = c[3], chain = c[4];
  const double per_sequence = s.queries / s.batch;
  const double tile = per_sequence <= 64 ? 16 : 128;
  const double padded = std::ceil(per_sequence / tile) * tile;
  const double pairs = s.pairs_qk * padded / per_sequence;
  const double compute = 4 * s.heads * s.head_dim * pairs / (efficiency * d.peak);
  const double bytes =
      2 * s.kv_tokens * s.kv_heads * s.head_dim * s.kv_bytes + 4 * s.queries * s.heads * s.head_dim;
  const double memory = bytes / (bandwidth * d.memory_bandwidth);
  const double serial = chain * 1e-9 * s.longest;
  return launch * 1e-6 + soft_max(soft_max(memory, compute, power), serial, power);
}

Coordinates prefill_coordinates(const KernelShape& s) {
  return {std::log2(s.queries / s.batch), std::log2(std::max(1.0, s.longest)),
          std::log2(s.batch * s.heads), std::log2(s.head_dim), std::log2(s.heads / s.kv_heads)};
}

}  // namespace

const Form& attention_decode_form() {
  static const Form form{
      "attention_decode",
      {{"launch_us", 6, 1, 60},
       {"bandwidth", 0.8, 0.1, 1.05},
       {"power", 2, 1.05, 8},
       {"chain_ns_per_key", 10, 0.1, 200},
       {"group_us", 0.5, 0.001, 20},
       {"ctas_per_sm", 1, 0.2, 4}},
      decode_seconds,
      {"log2 KV bytes", "log2 batch x KV heads", "log2 heads per KV head", "log2 head_dim"},
      decode_coordinates};
  return form;
}

const Form& attention_prefill_form() {
  static const Form form{"attention_prefill",
                         {{"launch_us", 6, 1, 60},
                          {"bandwidth", 0.6, 0.05, 1.05},
                          {"efficiency", 0.5, 0.05, 1.05},
                          {"power", 2, 1.05, 8},
                          {"chain_ns_per_key", 10, 0.1, 200}},
                         prefill_seconds,
                         {"log2 queries per sequence", "log2 context", "log2 batch x heads",
                          "log2 head_dim", "log2 heads per KV head"},
                         prefill_coordinates};
  return form;
}

}  // namespace moesim
