// Identities and look-up: which blocks of a request are cached, and what it needs.
#include <algorithm>
#include <numeric>

#include "sim/engine/kv_cache.h"

namespace moesim {

std::size_t KvCache::element_count(const TokenChain& chain) const {
  return chain.elements.size() + (chain.own_id != TokenChain::kNoId ? 1 : 0);
}

KvCache::ElementBlocks KvCache::element(const TokenChain& chain, std::size_t i) const {
  const auto block_size = static_cast<std::uint32_t>(config_.block_size);
  const std::uint32_t begin = i == 0 ? 0 : chain.elements[i - 1].end / block_size;
  if (i == chain.elements.size()) return {chain.own_id, begin, kNone};
  const bool open = chain.last_is_open && i + 1 == chain.elements.size();
  return {chain.elements[i].id, begin, open ? kNone : chain.elements[i].end / block_size};
}

std::uint32_t KvCache::identified_end(const TokenChain& chain) const {
  const std::size_t count = config_.prefix_caching ? element_count(chain) : 0;
  return count == 0 ? 0 : element(chain, count - 1).end;
}

std::uint32_t KvCache::id_at(const TokenChain& chain, std::uint32_t block) const {
  for (std::size_t i = 0; i < element_count(chain); ++i) {
    if (block < element(chain, i).end) return element(chain, i).id;
  }
  return TokenChain::kNoId;
}

std::uint32_t KvCache::head_or_none(std::size_t g, std::uint32_t id) const {
  return id < heads_[g].size() ? heads_[g][id] : kNone;
}

std::uint32_t& KvCache::head(std::size_t g, std::uint32_t id) {
  if (id >= heads_[g].size())
    heads_[g].resize(std::max<std::size_t>(id + 1, 2 * heads_[g].size()), kNone);
  return heads_[g][id];
}

// ---- look-up ----------------------------------------------------------------------------------

std::uint32_t KvCache::prefix_hit(std::size_t g, const TokenChain& chain,
                                  std::uint32_t limit) const {
  std::uint32_t hit = 0;
  for (std::size_t i = 0; i < element_count(chain) && hit < limit; ++i) {
    const ElementBlocks blocks = element(chain, i);
    for (std::uint32_t e = head_or_none(g, blocks.id); e != kNone; e = extents_[e].sibling) {
      if (extents_[e].begin > hit) break;
      // The element may go on further in another chain.
      hit = std::max(hit, std::min(extents_[e].end, blocks.end));
    }
    if (hit < blocks.end) break;  // the element is not cached to its end
  }
  return std::min(hit, limit);
}

/// The longest length up to `blocks` after which the next token sees none of them.
std::uint32_t KvCache::blind_length(std::size_t g, std::uint32_t blocks) const {
  const auto window = static_cast<std::uint32_t>(config_.groups[g].window);
  if (config_.groups[g].kind == AttentionKind::kSliding) return window == 1 ? blocks : 0;
  return blocks -
         blocks % (window / std::gcd(window, static_cast<std::uint32_t>(config_.block_size)));
}

/// Blocks [begin, end) are not cached: the hit must end before them, or where nothing of them is
/// seen; true in the latter case, which ends the search.
bool KvCache::ends_at_gap(std::size_t g, std::uint32_t begin, std::uint32_t end,
                          std::uint32_t& hit) const {
  const std::uint32_t blind = blind_length(g, end - 1);
  hit = std::max(blind, begin);
  return blind >= begin;
}

/// Longest hit whose last window is cached, in one pass from the end: `from` is the first block of
/// the run of cached blocks that ends at `hit`.
std::uint32_t KvCache::windowed_hit(std::size_t g, const TokenChain& chain, std::uint32_t limit) {
  std::uint32_t hit = limit;
  std::uint32_t from = limit;
  const auto enough = [&] {
    return from <= first_visible(g, static_cast<std::int64_t>(hit) * config_.block_size);
  };
  if (enough()) return hit;
  for (std::size_t i = element_count(chain); i-- > 0;) {
    const ElementBlocks blocks = element(chain, i);
    if (blocks.begin >= from) continue;
    scratch_.clear();
    for (std::uint32_t e = head_or_none(g, blocks.id); e != kNone && extents_[e].begin < from;
         e = extents_[e].sibling) {
      scratch_.push_back(e);
    }
    while (!scratch_.empty()) {
      const Extent& extent = extents_[scratch_.back()];
      scratch_.pop_back();
      if (extent.end < from && ends_at_gap(g, extent.end, from, hit)) return hit;
      from = std::max(extent.begin, blocks.begin);
      if (enough()) return hit;
    }
    if (from > blocks.begin && ends_at_gap(g, blocks.begin, from, hit)) return hit;
    from = blocks.begin;
  }
  return hit;
}

std::uint32_t KvCache::find_hit(const TokenChain& chain, std::int64_t tokens) {
  if (tokens <= 1) return 0;
  auto hit = std::min(identified_end(chain),
                      static_cast<std::uint32_t>((tokens - 1) / config_.block_size));
  if (hit == 0) return 0;
  apply_pending();
  for (bool agreed = false; !agreed && hit > 0;) {
    agreed = true;
    for (std::size_t g = 0; g < config_.groups.size() && hit > 0; ++g) {
      const bool full = config_.groups[g].kind == AttentionKind::kFull;
      const std::uint32_t mine = full ? prefix_hit(g, chain, hit) : windowed_hit(g, chain, hit);
      if (mine < hit) agreed = false;
      hit = mine;
    }
  }
  return hit;
}

/// Blocks of the hit that nobody uses: taking them consumes free blocks.
std::int64_t KvCache::free_in_hit(std::size_t g, const TokenChain& chain, std::uint32_t hit) const {
  const std::uint32_t from = first_visible(g, static_cast<std::int64_t>(hit) * config_.block_size);
  std::int64_t result = 0;
  for (std::size_t i = 0; i < element_count(chain); ++i) {
    const ElementBlocks blocks = element(chain, i);
    if (blocks.begin >= hit) break;
    if (blocks.end <= from) continue;
    const std::uint32_t low = std::max(from, blocks.begin);
    const std::uint32_t high = std::min(hit, blocks.end);
    for (std::uint32_t e = head_or_none(g, blocks.id); e != kNone; e = extents_[e].sibling) {
      const Extent& extent = extents_[e];
      if (extent.begin >= high) break;
      if (extent.refs > 0 || extent.end <= low) continue;
      result += std::min(extent.end, high) - std::max(extent.begin, low);
    }
  }
  return result;
}

std::int64_t KvCache::blocks_needed(const TokenChain& chain, std::uint32_t hit,
                                    std::int64_t slots) {
  apply_pending();
  std::int64_t need = 0;
  for (std::size_t g = 0; g < config_.groups.size(); ++g) {
    need += std::max<std::int64_t>(0, blocks_for(g, slots) - hit);
    if (hit > 0) need += free_in_hit(g, chain, hit);
  }
  return need;
}

std::int64_t KvCache::blocks_needed_in_full(const TokenChain& chain, std::uint32_t hit,
                                            std::int64_t tokens) {
  apply_pending();
  std::int64_t need = 0;
  const std::int64_t length = std::min<std::int64_t>(tokens, config_.max_model_len);
  for (std::size_t g = 0; g < config_.groups.size(); ++g) {
    const KvGroup& group = config_.groups[g];
    std::int64_t blocks = std::max<std::int64_t>(0, blocks_for(g, length) - hit);
    if (hit > 0) blocks += free_in_hit(g, chain, hit);
    if (group.kind == AttentionKind::kSliding || group.kind == AttentionKind::kChunked) {
      const std::int64_t before =
          group.kind == AttentionKind::kChunked ? group.window : group.window - 1;
      const std::int64_t reach = before + config_.max_num_batched_tokens;
      const std::int64_t most =
          blocks_for(g, std::min<std::int64_t>(reach, config_.max_model_len)) + 1;
      blocks = std::min(blocks, most);
    }
    need += blocks;
  }
  return need;
}

std::int64_t KvCache::idle_windowed_hit(const TokenChain& chain, std::uint32_t hit) const {
  std::int64_t result = 0;
  for (std::size_t g = 0; g < config_.groups.size() && hit > 0; ++g) {
    if (config_.groups[g].kind != AttentionKind::kFull) result += free_in_hit(g, chain, hit);
  }
  return result;
}

std::int64_t KvCache::blocks_to_grow(const Holding& holding, std::int64_t slots) const {
  std::int64_t need = 0;
  for (std::size_t g = 0; g < holding.groups.size(); ++g) {
    need += std::max<std::int64_t>(0, blocks_for(g, slots) - holding.groups[g].end);
  }
  return need;
}

}  // namespace moesim
