#include <algorithm>
#include <cmath>

#include "hardware/attention_memory.h"
#include "hardware/forms_list.h"

namespace moesim {

namespace {

constexpr double kBlock = 128;  ///< keys a CTA handles at a time

// Where one CTA walks all keys of its sequence and there are more CTAs than a wave, the last of a
// long sequence end alone, after the others: a time for every key by which the longest context is
// longer than the mean. FlashAttention 2 splits keys until the CTAs fill 0.8 of two to an SM
// (its num_splits_heuristic), and where it splits, parts of long contexts and whole short ones are
// alike. Kernels that share out keys evenly have no such time.
constexpr double kSplitBelow = 0.8 * 2;  ///< CTAs an SM

// One CTA per (sequence, KV head): the query heads that share it fill its tile. Where those are
// fewer than the SMs, the keys are split (flash decoding) so that all SMs work; where they are
// more, they go over the SMs in waves, and short contexts cost a wave's fixed part.
double decode_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double launch = c[0], bandwidth = c[1], power = c[2], chain = c[3], group = c[4],
               sequence = c[5], hot = c[6], held = c[7], head = c[8], block = c[9], merge = c[10],
               cut = c[11], alone = c[12], tail = c[13];
  const double kv = s.kv_tokens * 2 * s.kv_heads * s.head_dim * s.kv_bytes;
  const double mean = s.kv_tokens / s.batch;
  const double groups = s.batch * s.kv_heads;
  const double sharing = s.heads / s.kv_heads;
  // Some kernels split only where query heads share keys.
  const double can_split = sharing > 1 ? 1 : alone;
  const double memory = memory_seconds(kv, {bandwidth, hot, held}, d);
  const double possible = std::clamp(d.sms / groups, 1.0, std::max(1.0, s.longest / kBlock));
  const double splits = 1 + (possible - 1) * can_split;
  const double serial = chain * 1e-9 * s.longest / splits;
  const double fixed = group + head * sharing * s.head_dim / 1024 +
                       std::max(1.0, mean / kBlock) * block * s.head_dim / 128 +
                       (s.window > 0 && s.longest >= s.window ? cut : 0);
  const double waves = std::max(0.0, groups / d.sms - 1) * fixed * 1e-6;
  const double work = soft_max(memory, waves, serial, power);
  // Kernels that can split long contexts pay for the merge of the parts, whether they split or not:
  // the launch is the same for any batch.
  const double merged = merge * (1 - kBlock / std::max(kBlock, s.longest)) * can_split;
  const double overhead = launch + sequence * s.batch / 100 + merged;
  const double whole = groups >= kSplitBelow * d.sms ? 1 : 1 - can_split;
  const double last = whole * tail * 1e-9 * std::max(0.0, s.longest - mean);
  return overhead * 1e-6 + work + last;
}

Coordinates decode_coordinates(const KernelShape& s) {
  return {std::log2(std::max(1.0, s.kv_tokens / s.batch)), std::log2(s.batch * s.kv_heads),
          std::log2(s.heads / s.kv_heads), std::log2(s.head_dim),
          std::min(3.0, std::log2(s.kv_heads))};
}

constexpr double kRows = 128;  ///< queries a CTA handles at a time

/// CTAs of prompt chunks. Kernels that pack put the query heads that share keys into one tile.
double chunk_tiles(const KernelShape& s, double packing) {
  const double queries = s.queries / s.batch;
  const double packed = s.kv_heads * std::ceil(queries * s.heads / s.kv_heads / kRows - 1e-9);
  const double alone = s.heads * std::ceil(queries / kRows - 1e-9);
  return s.batch * (packing * packed + (1 - packing) * alone);
}

// A tile of 128 queries has a fixed cost and walks the keys it sees in order, so the last tile of
// the longest sequence is a floor. Decoding sequences in the same kernel are tiles of one useful
// row: without packing one for every query head, and heads that share keys read them once more each
// unless L2 still holds them (a kernel walks the batch before the heads).
double prefill_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double launch = c[0], bandwidth = c[1], efficiency = c[2], power = c[3], chain = c[4],
               tile = c[5], block = c[6], cut = c[7], packing = c[8], row = c[9], held = c[10],
               tail = c[11];
  const double tiles = chunk_tiles(s, packing);
  // The diagonal is computed in whole blocks: half a block more for every row.
  const double keys = s.pairs_qk / s.queries + block / 2 + (s.longest == s.window ? cut : 0);
  const double per_decode = packing * s.kv_heads + (1 - packing) * s.heads;
  const double decode_tiles = s.decodes * per_decode;
  const double walked = tiles * keys + row * s.decode_tokens * per_decode;
  const double compute = walked * kRows * 4 * s.head_dim / (efficiency * d.peak);
  const double fixed = (tiles + decode_tiles) / d.sms * tile * 1e-6;
  const double per_key = 2 * s.head_dim * s.kv_bytes;
  const double again =
      (per_decode - s.kv_heads) * miss_share(s.decode_tokens * per_key, held * d.l2_bytes);
  const double bytes = s.kv_tokens * s.kv_heads * per_key + 4 * s.queries * s.heads * s.head_dim +
                       s.decode_tokens * (s.kv_heads + again) * per_key;
  const double memory = bytes / (bandwidth * d.memory_bandwidth);
  const double serial = chain * 1e-9 * s.longest;
  // Nothing is split here: the longest decode ends alone, the later the more wait before it.
  const double queued = decode_tiles / (decode_tiles + 2 * d.sms);
  const double beyond = s.decodes > 0 ? s.decode_longest - s.decode_tokens / s.decodes : 0;
  const double last = queued * tail * 1e-9 * std::max(0.0, beyond);
  return launch * 1e-6 + soft_max(memory, compute + fixed, serial, power) + last;
}

Coordinates prefill_coordinates(const KernelShape& s) {
  const double queries = s.queries / s.batch;
  const double decoding = s.decode_tokens * kRows / std::max(s.pairs_qk, s.queries * kRows);
  return {std::log2(queries),
          std::log2(std::max(1.0, s.kv_tokens / s.queries)),
          std::log2(s.batch * s.heads),
          std::log2(s.head_dim),
          std::min(3.0, std::log2(s.heads / s.kv_heads)),
          std::log2(1 + decoding)};
}

}  // namespace

// Nothing where no batch of unequal contexts was measured (calibrate/fit/plans.cpp).
constexpr const char* kTail = "tail_ns_per_key";

// chain_ns_per_key: keys and values of 128 numbers in 16 bits are 512 bytes, and an SM draws about
// 64 bytes a clock from L2, so 4 ns a key; half of that for 8 bits.
const Form& attention_decode_form() {
  static const Form form{"attention_decode",
                         {{"launch_us", 8, 1, 60},
                          {"bandwidth", 0.85, 0.1, 1.0},
                          {"power", 2, 1.05, 8},
                          {"chain_ns_per_key", 10, 2.5, 200},
                          {"group_us", 2, 0.05, 20},
                          {"us_per_100_sequences", 1, 0.01, 50},
                          {"hot_speed", 2, 1, 6},
                          {"hot_share", 0.8, 0.2, 1.5},
                          {"head_us", 0.5, 0.01, 20},
                          {"block_us", 0.5, 0.01, 20},
                          {"merge_us", 2, 0.01, 30},
                          {"window_us", 0.5, 0.01, 20},
                          {"split_unshared", 0.5, 0.001, 1},
                          {kTail, 1, 0.01, 100, true}},
                         decode_seconds,
                         {"log2 context", "log2 batch x KV heads", "log2 heads per KV head",
                          "log2 head_dim", "log2 KV heads"},
                         decode_coordinates};
  return form;
}

const Form& attention_prefill_form() {
  static const Form form{
      "attention_prefill",
      {{"launch_us", 8, 1, 60},
       {"bandwidth", 0.6, 0.05, 1.0},
       {"efficiency", 0.6, 0.05, 1.0},
       {"power", 2, 1.05, 8},
       {"chain_ns_per_key", 10, 2.5, 200},
       {"tile_us", 2, 0.05, 50},
       {"block_keys", 128, 16, 512},
       {"window_keys", 128, 1, 1024},
       {"packing", 0.5, 0.001, 1},
       {"decode_row", 0.7, 0.1, 4},
       {"held", 2, 0.2, 3},
       {kTail, 1, 0.01, 100, true}},
      prefill_seconds,
      {"log2 queries per sequence", "log2 context over queries", "log2 batch x heads",
       "log2 head_dim", "log2 heads per KV head", "log2 decoding share"},
      prefill_coordinates};
  return form;
}

}  // namespace moesim
