#include <algorithm>
#include <cmath>

#include "hardware/attention_memory.h"
#include "hardware/forms_list.h"

namespace moesim {

namespace {

// Absorbed decode: every sequence reads its latents once for all heads (serving-semantics 4.2).
// head_dim is the latent with its rotary part (512 + 64); values are its first 512. One CTA per
// sequence and tile of 64 heads; keys are split where those are fewer than the SMs.
double mla_decode_seconds(const KernelShape& s, std::span<const double> c,
                          const DeviceCeilings& d) {
  const double launch = c[0], bandwidth = c[1], efficiency = c[2], power = c[3], chain = c[4],
               group = c[5], hot = c[6], held = c[7], merge = c[8], head = c[9], sequence = c[10],
               splitting = c[11];
  constexpr double kTile = 64;
  constexpr double kBlock = 64;
  const double latents = s.kv_tokens * s.head_dim * s.kv_bytes;
  const double memory = memory_seconds(latents, {bandwidth, hot, held}, d);
  const double tiles = std::ceil(s.heads / kTile);
  // Narrow tiles cost less than full ones, by a fitted part.
  const double rows = kTile * tiles * std::pow(s.heads / (kTile * tiles), head);
  const double compute = 2 * rows * (2 * s.head_dim - 64) * s.kv_tokens / (efficiency * d.peak);
  const double groups = s.batch * tiles;
  const double possible = std::clamp(d.sms / groups, 1.0, std::max(1.0, s.longest / kBlock));
  const double splits = 1 + (possible - 1) * splitting;  // not every kernel splits
  const double serial = chain * 1e-9 * s.longest / splits;
  const double waves = std::max(0.0, groups / d.sms - 1) * group * 1e-6;
  const double work =
      soft_max(soft_max(memory, compute, power), soft_max(serial, waves, power), power);
  const double merged = merge * (1 - kBlock / std::max(kBlock, s.longest));
  return (launch + sequence * s.batch * s.heads / 1e4 + merged) * 1e-6 + work;
}

Coordinates mla_decode_coordinates(const KernelShape& s) {
  return {std::log2(std::max(1.0, s.kv_tokens / s.batch)), std::log2(s.batch), std::log2(s.heads)};
}

// Keys and values of every head are expanded, so a head is its own: 192 for scores, 128 for values.
double mla_prefill_seconds(const KernelShape& s, std::span<const double> c,
                           const DeviceCeilings& d) {
  const double launch = c[0], bandwidth = c[1], efficiency = c[2], power = c[3], chain = c[4],
               tile = c[5], block = c[6];
  constexpr double kRows = 128;
  constexpr double kWidth = 192 + 128;
  const double tiles = s.batch * s.heads * std::ceil(s.queries / s.batch / kRows - 1e-9);
  const double keys = s.pairs_qk / s.queries + block / 2;
  const double compute = tiles * kRows * keys * 2 * kWidth / (efficiency * d.peak);
  const double fixed = tiles / d.sms * tile * 1e-6;
  const double bytes = 2 * (s.queries + s.kv_tokens) * s.heads * kWidth;
  const double memory = bytes / (bandwidth * d.memory_bandwidth);
  const double serial = chain * 1e-9 * s.longest;
  return launch * 1e-6 + soft_max(memory, compute + fixed, serial, power);
}

Coordinates mla_prefill_coordinates(const KernelShape& s) {
  const double queries = s.queries / s.batch;
  return {std::log2(queries), std::log2(s.batch * s.heads), std::log2(s.heads),
          std::log2(std::max(1.0, s.kv_tokens / s.queries))};
}

// One small product per head: [m, k] x [k, n], `heads` of them.
double mla_product_seconds(const KernelShape& s, std::span<const double> c,
                           const DeviceCeilings& d) {
  const double launch = c[0], bandwidth = c[1], efficiency = c[2], power = c[3], tile = c[4],
               hot = c[5], stream = c[6];
  constexpr double kRows = 128;
  const double whole = std::ceil(s.m / kRows - 1e-9);
  const double tiles = s.heads * whole * s.n / kRows;
  const double weights = s.heads * s.n * s.k * s.weight_bytes;
  const double values = s.heads * s.m * (s.k * s.input_bytes + 2 * s.n);
  const double memory =
      memory_seconds(weights, {bandwidth, hot, 1}, d) + values / (stream * d.memory_bandwidth);
  const double compute = 2 * tiles * kRows * kRows * s.k / (efficiency * d.peak);
  const double waves = tiles / d.sms * tile * 1e-6;
  return launch * 1e-6 + soft_max(memory, compute + waves, power);
}

Coordinates mla_product_coordinates(const KernelShape& s) {
  return {std::log2(s.m), std::log2(s.heads)};
}

}  // namespace

const Form& mla_decode_form() {
  static const Form form{"mla_decode",
                         {{"launch_us", 12, 1, 30},
                          {"bandwidth", 0.8, 0.05, 1.0},
                          {"efficiency", 0.5, 0.01, 1.0},
                          {"power", 2, 1.05, 8},
                          {"chain_ns_per_key", 10, 2.5, 300},
                          {"group_us", 2, 0.05, 50},
                          {"hot_speed", 2, 1, 6},
                          {"hot_share", 0.8, 0.2, 1.5},
                          {"merge_us", 2, 0.01, 50},
                          {"narrow_tile", 0.3, 0.01, 1},
                          {"us_per_10k_heads", 1, 0.01, 200},
                          {"splitting", 0.5, 0.001, 1}},
                         mla_decode_seconds,
                         {"log2 context", "log2 batch", "log2 heads"},
                         mla_decode_coordinates};
  return form;
}

const Form& mla_prefill_form() {
  static const Form form{"mla_prefill",
                         {{"launch_us", 12, 1, 30},
                          {"bandwidth", 0.6, 0.05, 1.0},
                          {"efficiency", 0.5, 0.02, 1.0},
                          {"power", 2, 1.05, 8},
                          {"chain_ns_per_key", 10, 2.5, 300},
                          {"tile_us", 2, 0.05, 50},
                          {"block_keys", 128, 16, 512}},
                         mla_prefill_seconds,
                         {"log2 queries per sequence", "log2 batch x heads", "log2 heads",
                          "log2 context over queries"},
                         mla_prefill_coordinates};
  return form;
}

const Form& mla_product_form() {
  static const Form form{"mla_product",
                         {{"launch_us", 4, 0.5, 60},
                          {"bandwidth", 0.9, 0.87, 0.93},
                          {"efficiency", 0.5, 0.02, 1.0},
                          {"power", 2, 1.05, 8},
                          {"tile_us", 0.5, 0.005, 20},
                          {"hot_speed", 2, 1, 6},
                          {"stream", 0.8, 0.1, 1.5}},
                         mla_product_seconds,
                         {"log2 tokens", "log2 heads"},
                         mla_product_coordinates};
  return form;
}

}  // namespace moesim
