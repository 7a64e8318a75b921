#include "tests/reference/plain_tables.h"

#include <algorithm>

namespace moesim::reference {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

PlainTables::PlainTables(const PlainConfig& config, const Workload& workload)
    : config_(config),
      workload_(workload),
      caching_(config.prefix_caching),
      pool_(config.usable_blocks),
      tables_(workload.size()) {
  for (const KvGroup& group : config.groups) {
    if (group.kind == AttentionKind::kLinear) caching_ = false;
  }
  for (Table& table : tables_) table.blocks.resize(config.groups.size());
}

std::int64_t PlainTables::blocks_for(std::size_t g, std::int64_t tokens) const {
  if (config_.groups[g].kind == AttentionKind::kLinear) return 1;
  return ceil_div(tokens, config_.block_size);
}

std::int64_t PlainTables::first_visible(std::size_t g, std::int64_t computed) const {
  const KvGroup& group = config_.groups[g];
  std::int64_t token = 0;
  if (group.kind == AttentionKind::kSliding) {
    token = std::max<std::int64_t>(0, computed - group.window + 1);
  } else if (group.kind == AttentionKind::kChunked) {
    token = computed - computed % group.window;
  }
  return token / config_.block_size;
}

std::optional<PlainBlocks::Identity> PlainTables::identity(Id id, std::size_t g,
                                                           std::int64_t block) const {
  if (!caching_) return std::nullopt;
  PlainBlocks::Identity result{static_cast<std::uint32_t>(g), 0, static_cast<std::uint32_t>(block)};
  const std::int64_t last_token = (block + 1) * config_.block_size - 1;
  bool open = false;
  if (!workload_.chain_begin.empty()) {
    const std::size_t end = workload_.chain_begin[id + 1];
    for (std::size_t e = workload_.chain_begin[id]; e < end; ++e) {
      result.id = workload_.chain[e].id;
      if (last_token < workload_.chain[e].end) return result;
      open =
          workload_.output_continues_chain && workload_.chain[e].end == workload_.prompt_tokens[id];
    }
  }
  if (open) return result;
  if (!tables_[id].has_own_id) return std::nullopt;
  result.id = workload_.chain_ids + id;
  return result;
}

/// Whether the first `length` blocks can be reused: they have identities, and those that the next
/// token sees are cached.
bool PlainTables::hits(Id id, std::int64_t length) const {
  if (!identity(id, 0, length - 1)) return false;
  for (std::size_t g = 0; g < config_.groups.size(); ++g) {
    for (std::int64_t b = first_visible(g, length * config_.block_size); b < length; ++b) {
      if (!pool_.find(*identity(id, g, b))) return false;
    }
  }
  return true;
}

std::int64_t PlainTables::find_hit(Id id, std::int64_t tokens) const {
  if (!caching_) return 0;
  std::int64_t length = (tokens - 1) / config_.block_size;
  while (length > 0 && !hits(id, length)) --length;
  return length;
}

std::int64_t PlainTables::free_in_hit(Id id, std::size_t g, std::int64_t hit) const {
  std::int64_t result = 0;
  for (std::int64_t b = first_visible(g, hit * config_.block_size); b < hit; ++b) {
    if (!pool_.in_use(*pool_.find(*identity(id, g, b)))) ++result;
  }
  return result;
}

std::int64_t PlainTables::needed(Id id, std::int64_t hit, std::int64_t slots) const {
  std::int64_t result = 0;
  for (std::size_t g = 0; g < config_.groups.size(); ++g) {
    const auto held = static_cast<std::int64_t>(tables_[id].blocks[g].size());
    result += std::max<std::int64_t>(0, blocks_for(g, slots) - std::max(hit, held));
    result += free_in_hit(id, g, hit);
  }
  return result;
}

std::int64_t PlainTables::needed_in_full(Id id, std::int64_t hit, std::int64_t tokens) const {
  std::int64_t result = 0;
  const std::int64_t longest = config_.limits.max_model_len;
  for (std::size_t g = 0; g < config_.groups.size(); ++g) {
    const KvGroup& group = config_.groups[g];
    std::int64_t blocks =
        std::max<std::int64_t>(0, blocks_for(g, std::min(tokens, longest)) - hit) +
        free_in_hit(id, g, hit);
    if (group.kind == AttentionKind::kSliding || group.kind == AttentionKind::kChunked) {
      const std::int64_t before =
          group.kind == AttentionKind::kSliding ? group.window - 1 : group.window;
      const std::int64_t reach = std::min(before + config_.limits.max_num_batched_tokens, longest);
      blocks = std::min(blocks, ceil_div(reach, config_.block_size) + 1);
    }
    result += blocks;
  }
  return result;
}

void PlainTables::take_hit(Id id, std::int64_t hit) {
  Table& table = tables_[id];
  for (std::size_t g = 0; g < config_.groups.size(); ++g) {
    const std::int64_t first = first_visible(g, hit * config_.block_size);
    for (std::int64_t b = 0; b < hit; ++b) {
      table.blocks[g].push_back(b < first ? kDropped : *pool_.find(*identity(id, g, b)));
      if (b >= first) pool_.share(table.blocks[g].back());
    }
  }
  table.offered = hit;
}

void PlainTables::grow(Id id, std::int64_t slots) {
  for (std::size_t g = 0; g < config_.groups.size(); ++g) {
    auto& held = tables_[id].blocks[g];
    while (static_cast<std::int64_t>(held.size()) < blocks_for(g, slots)) {
      held.push_back(pool_.take());
    }
  }
}

void PlainTables::offer_identities(Id id, std::int64_t tokens) {
  Table& table = tables_[id];
  for (; (table.offered + 1) * config_.block_size <= tokens; ++table.offered) {
    for (std::size_t g = 0; g < config_.groups.size(); ++g) {
      const auto content = identity(id, g, table.offered);
      if (!content) return;
      const auto b = static_cast<std::size_t>(table.offered);
      if (b < table.blocks[g].size() && table.blocks[g][b] != kDropped) {
        pool_.name(table.blocks[g][b], *content);
      }
    }
  }
}

void PlainTables::release(Id id, std::int64_t known) {
  Table& table = tables_[id];
  offer_identities(id, known);
  for (auto& held : table.blocks) {
    for (std::size_t b = held.size(); b-- > 0;) {
      if (held[b] != kDropped) pool_.release(held[b]);
    }
    held.clear();
  }
  table.offered = 0;
}

void PlainTables::give_own_id(Id id) {
  if (caching_) tables_[id].has_own_id = true;
}

void PlainTables::leave_windows(Id id, std::int64_t computed,
                                std::vector<PlainBlocks::Block>& others) {
  std::vector<PlainBlocks::Block> gone;
  for (std::size_t g = 0; g < config_.groups.size(); ++g) {
    auto& held = tables_[id].blocks[g];
    const std::int64_t first =
        std::min(first_visible(g, computed), static_cast<std::int64_t>(held.size()));
    for (auto b = static_cast<std::size_t>(first); b-- > 0;) {
      if (held[b] == kDropped) continue;
      gone.push_back(held[b]);
      held[b] = kDropped;
    }
  }
  const bool cached = std::any_of(gone.begin(), gone.end(), [&](PlainBlocks::Block block) {
    return pool_.has_identity(block);
  });
  if (cached) {
    free(gone);
  } else {
    others.insert(others.end(), gone.begin(), gone.end());
  }
}

void PlainTables::free(const std::vector<PlainBlocks::Block>& blocks) {
  for (const PlainBlocks::Block block : blocks) pool_.release(block);
}

}  // namespace moesim::reference
