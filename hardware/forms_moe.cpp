#include <algorithm>
#include <cmath>

#include "hardware/forms_list.h"

namespace moesim {

namespace {

/// Pairs beyond the r-th of every expert, summed: from those beyond none, the 64th and the 256th.
double pairs_above(const KernelShape& s, double r) {
  if (r <= 64) return s.pairs + (s.above_64 - s.pairs) * r / 64;
  return s.above_64 + (s.above_256 - s.above_64) * std::min(1.0, (r - 64) / 192);
}

// A roofline expert by expert. An expert with few rows takes as long as its weights stream; beyond
// the rows that fit into that time (`ridge`) it takes as long as it computes. Light and heavy
// experts do not make up for each other: tiles of one expert are neighbours in the schedule. Around
// it, what a block does besides:
// - large_tile: kernels not tuned for a layer take a larger tile once there are more tokens than
//   local experts (vLLM, SGLang: get_default_config), which streams weights worse;
// - default_tile: and multiplies worse;
// - half_rows: rows of an expert that padding to tiles costs;
// - chain: a CTA walks k in order, a floor that no parallelism removes;
// - l2_gain: weights that fit L2 and were read a moment ago. A step that streams other layers in
//   between asks with l2_bytes = 0 and gets the speed of memory;
// - expert_us: scheduling, per expert with tokens;
// - local_bandwidth, all_bandwidth: bytes of activations over what is moved per pair of this rank
//   and per pair of all ranks (Triton kernels keep all rows; the weighted sum writes all tokens);
// - sort_us: sorting the pairs, a prefix sum over the experts of all ranks. Tables of one layer do
//   not tell it from t0: they keep the start, between Marlin's on A100 (8 to 512 experts: 0.02) and
//   on H100 (384 against 896: 0.05).
double moe_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double t0 = c[0], bandwidth = c[1], efficiency = c[2], half = c[3], power = c[4],
               per_expert = c[5], local_bandwidth = c[6], large_tile = c[7], chain = c[8],
               l2 = c[9], all_bandwidth = c[10], sort = c[11], default_tile = c[12];
  const double weights = s.active * s.matrices * s.hidden * s.inter * s.weight_bytes;
  const double hit = d.l2_bytes > 0 ? 1 / (1 + std::pow(weights / (0.7 * d.l2_bytes), 3)) : 0;
  const bool untuned = s.tokens > s.experts && s.tuned == 0;
  const double tile = untuned ? large_tile : 1;
  const double memory =
      weights * tile * (1 - hit * (1 - 1 / l2)) / (bandwidth * d.memory_bandwidth);
  const double per_pair =
      2 * s.matrices * s.hidden * s.inter / (efficiency * d.peak) * (untuned ? default_tile : 1);
  const double ridge = memory / (std::max(1e-9, s.active) * per_pair);
  const double excess = pairs_above(s, std::max(0.0, ridge - half));
  const double covered = (s.pairs - excess + half * s.active) * per_pair;
  const double serial = chain * 1e-9 * (s.hidden + s.inter);
  constexpr double kActivationBytes = 2;
  const double act = kActivationBytes * (2 * s.hidden + s.matrices * s.inter) / d.memory_bandwidth;
  return t0 * 1e-6 + sort * 1e-6 * s.total_experts +
         soft_max(soft_max(memory, covered, power) + excess * per_pair, serial, power) +
         per_expert * 1e-6 * s.active + act * s.pairs / local_bandwidth +
         act * s.tokens * s.topk / all_bandwidth;
}

Coordinates moe_coordinates(const KernelShape& s) {
  return {std::log2(std::max(1.0, s.pairs) / std::max(1.0, s.active)),
          std::log2(std::max(1.0, s.active)),
          std::log2(s.inter),
          std::log2(s.hidden),
          std::log2(std::max(1.0, s.pairs)),
          std::log2(std::max(1.0, s.tokens))};
}

}  // namespace

const Form& moe_form() {
  static const Form form{"moe",
                         {{"t0_us", 30, 2, 200},
                          {"bandwidth", 0.9, 0.2, 1.05},
                          {"efficiency", 0.6, 0.05, 0.9},
                          {"half_rows", 30, 1, 500},
                          {"power", 2, 1.2, 8},
                          {"expert_us", 0.2, 0.001, 5},
                          {"local_bandwidth", 1, 0.1, 10},
                          {"large_tile", 1.1, 1, 2},
                          {"chain_ns_per_k", 0.5, 0.01, 10},
                          {"l2_gain", 1.3, 1, 4},
                          {"all_bandwidth", 2, 0.2, 20},
                          {"sort_us", 0.03, 0.002, 0.1},
                          {"default_tile", 1.05, 1, 3}},
                         moe_seconds,
                         {"log2 pairs per active expert", "log2 active experts", "log2 inter",
                          "log2 hidden", "log2 pairs", "log2 tokens"},
                         moe_coordinates};
  return form;
}

}  // namespace moesim
