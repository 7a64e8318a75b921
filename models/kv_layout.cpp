#include <algorithm>

#include "models/memory.h"

namespace moesim {

namespace {

constexpr std::int64_t kStateBytes = 2;  // linear-attention state is kept in 16 bit

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

constexpr std::size_t kMostGroups = 8;  // the engine's KV cache keeps at most eight block tables

/// Layers of one kind of attention on a stage.
struct KvKind {
  KvGroup group;
  bool linear = false;
  std::int64_t token_bytes = 0;  // of one layer; the largest where layers differ
};

// What a layer's blocks hold. Without the hybrid manager a window saves nothing: all tokens are
// kept. A state needs the block of the newest token only, as a window of one would.
KvGroup group_of(const LayerSpec& layer, bool hybrid_manager) {
  if (layer.attention == AttentionKind::kLinear) {
    return {.kind = AttentionKind::kSliding, .window = 1, .layers = 0};
  }
  if (!hybrid_manager) return {};
  return {.kind = layer.attention, .window = layer.window, .layers = 0};
}

std::vector<KvKind> kinds_of(const Shard& shard, bool hybrid_manager) {
  std::vector<KvKind> kinds;
  for (int i = shard.first_layer; i < shard.last_layer; ++i) {
    const LayerSpec& layer = shard.model->layers[static_cast<std::size_t>(i)];
    if (layer.encoder) continue;
    const KvGroup group = group_of(layer, hybrid_manager);
    auto it = std::find_if(kinds.begin(), kinds.end(), [&group](const KvKind& known) {
      return known.group.kind == group.kind && known.group.window == group.window;
    });
    if (it == kinds.end()) {
      const bool linear = layer.attention == AttentionKind::kLinear;
      it = kinds.insert(it, KvKind{.group = group, .linear = linear, .token_bytes = 0});
    }
    ++it->group.layers;
    it->token_bytes = std::max(it->token_bytes, kv_bytes_per_token_layer(shard, layer).value());
  }
  return kinds;
}

std::size_t groups_of_size(const std::vector<KvKind>& kinds, int size) {
  std::int64_t groups = 0;
  for (const KvKind& kind : kinds) groups += ceil_div(kind.group.layers, size);
  return static_cast<std::size_t>(groups);
}

// vLLM pads the smaller kinds up if all are of nearly one size, else cuts the larger ones into
// groups of the smallest.
int group_size(const std::vector<KvKind>& kinds) {
  constexpr double kNearlyEqual = 1.25;
  int smallest = kinds.front().group.layers;
  int largest = smallest;
  for (const KvKind& kind : kinds) {
    smallest = std::min(smallest, kind.group.layers);
    largest = std::max(largest, kind.group.layers);
  }
  int size = largest < smallest * kNearlyEqual ? largest : smallest;
  while (groups_of_size(kinds, size) > kMostGroups && size < largest) ++size;
  return size;
}

}  // namespace

KvLayout kv_layout(const Shard& shard, int block_size, bool hybrid_manager) {
  KvLayout layout;
  layout.block_size = block_size;
  const std::vector<KvKind> kinds = kinds_of(shard, hybrid_manager);
  if (kinds.empty()) return layout;
  layout.layers_per_group = group_size(kinds);
  std::int64_t token_bytes = 0;
  std::int64_t state_bytes = 0;
  for (const KvKind& kind : kinds) {
    token_bytes = std::max(token_bytes, kind.token_bytes);
    if (kind.linear) {
      state_bytes = ceil_div(shard.model->linear.state_elements, shard.parallel.tp) * kStateBytes;
      layout.state_per_sequence += Bytes(state_bytes * kind.group.layers);
    }
    for (int rest = kind.group.layers; rest > 0; rest -= layout.layers_per_group) {
      layout.groups.push_back(kind.group);
      layout.groups.back().layers = std::min(rest, layout.layers_per_group);
    }
  }
  // One page size for all: the attention block grows until it holds a linear layer's state.
  if (token_bytes > 0 && state_bytes > token_bytes * block_size) {
    layout.block_size =
        static_cast<int>(ceil_div(ceil_div(state_bytes, token_bytes), block_size)) * block_size;
  }
  const std::int64_t page = std::max(token_bytes * layout.block_size, state_bytes);
  layout.bytes_per_block = Bytes(page * layout.layers_per_group);
  for (int i = shard.first_layer; i < shard.last_layer; ++i) {
    layout.bytes_per_token +=
        kv_bytes_per_token_layer(shard, shard.model->layers[static_cast<std::size_t>(i)]);
  }
  return layout;
}

std::int64_t KvLayout::blocks_per_request(std::int64_t tokens, int max_num_batched_tokens) const {
  const std::int64_t all = ceil_div(tokens, block_size);
  std::int64_t sum = 0;
  for (const KvGroup& group : groups) {
    // While a prompt is computed in chunks, the window before a chunk and the chunk itself are held
    // (2.4).
    const std::int64_t before =
        group.kind == AttentionKind::kChunked ? group.window : group.window - 1;
    switch (group.kind) {
      case AttentionKind::kFull:
        sum += all;
        break;
      case AttentionKind::kSliding:
      case AttentionKind::kChunked:
        sum += std::min(
            all, ceil_div(std::min(before + max_num_batched_tokens, tokens), block_size) + 1);
        break;
      case AttentionKind::kLinear:
        break;  // never a group's kind
    }
  }
  return sum;
}

}  // namespace moesim
