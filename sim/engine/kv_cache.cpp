#include "sim/engine/kv_cache.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moesim {
KvCache::KvCache(const Config& config) : config_(config), heads_(config.groups.size()) {
  MOESIM_CHECK(config_.groups.size() <= kMaxGroups, "at most eight groups of attention layers");
  for (const KvGroup& group : config_.groups) {
    if (group.kind == AttentionKind::kLinear) config_.prefix_caching = false;
  }
  free_ = config_.usable_blocks;
  if (free_ > 0) {
    const std::uint32_t all = new_extent();
    extents_[all].end = static_cast<std::uint32_t>(free_);
    append_free(all);
  }
}

std::int64_t KvCache::blocks_for(std::size_t g, std::int64_t tokens) const {
  if (config_.groups[g].kind == AttentionKind::kLinear) return std::min<std::int64_t>(tokens, 1);
  return (tokens + config_.block_size - 1) / config_.block_size;
}

std::uint32_t KvCache::first_visible(std::size_t g, std::int64_t computed) const {
  const KvGroup& group = config_.groups[g];
  std::int64_t first_token = 0;
  if (group.kind == AttentionKind::kSliding) first_token = computed - group.window + 1;
  if (group.kind == AttentionKind::kChunked) first_token = computed / group.window * group.window;
  return first_token <= 0 ? 0 : static_cast<std::uint32_t>(first_token / config_.block_size);
}

void KvCache::push_run(GroupHolding& holding, const Run& run) {
  if (run.begin == run.end) return;
  if (!holding.runs.empty() && holding.runs.back().id == run.id &&
      holding.runs.back().end == run.begin) {
    holding.runs.back().end = run.end;
  } else {
    holding.runs.push_back(run);
  }
  holding.end = run.end;
}

void KvCache::take_hit(Holding& holding, const TokenChain& chain, std::uint32_t hit) {
  apply_pending();
  holding.groups.resize(config_.groups.size());
  for (std::size_t g = 0; g < config_.groups.size(); ++g) {
    GroupHolding& mine = holding.groups[g];
    mine.runs.clear();
    mine.first =
        hit == 0 ? 0 : first_visible(g, static_cast<std::int64_t>(hit) * config_.block_size);
    mine.end = mine.first;
    mine.registered = hit;
    for (std::size_t i = 0; i < element_count(chain); ++i) {
      const ElementBlocks blocks = element(chain, i);
      if (blocks.begin >= hit) break;
      if (blocks.end <= mine.first) continue;
      const Run run{blocks.id, std::max(mine.first, blocks.begin), std::min(hit, blocks.end)};
      reference(g, run);
      push_run(mine, run);
    }
  }
}

/// One more user of cached blocks.
void KvCache::reference(std::size_t g, const Run& run) {
  for (std::uint32_t e = head(g, run.id); e != kNone; e = extents_[e].sibling) {
    if (extents_[e].end <= run.begin) continue;
    if (extents_[e].begin >= run.end) break;
    if (extents_[e].begin < run.begin) {
      split(e, run.begin);
      continue;  // the sibling that begins at run.begin comes next
    }
    if (extents_[e].end > run.end) split(e, run.end);
    if (extents_[e].refs++ == 0) {
      unlink_free(e);
      ++changes_;
      free_ -= extents_[e].size();
    }
  }
}

/// Takes the blocks of one element into the holding: what is already cached elsewhere stays without
/// identity.
void KvCache::add_identified(std::size_t g, GroupHolding& holding, ElementBlocks blocks) {
  std::uint32_t at = blocks.begin;
  std::uint32_t next = head(g, blocks.id);
  while (at < blocks.end) {
    while (next != kNone && extents_[next].end <= at) next = extents_[next].sibling;
    const bool cached = next != kNone && extents_[next].begin <= at;
    std::uint32_t stop = blocks.end;
    if (next != kNone) stop = std::min(stop, cached ? extents_[next].end : extents_[next].begin);
    if (cached) {
      push_run(holding, {TokenChain::kNoId, at, stop});
    } else {
      const std::uint32_t e = new_extent();
      extents_[e] = {blocks.id, at, stop, 1, kNone, kNone, kNone, static_cast<std::uint32_t>(g)};
      insert_sibling(e);
      ++changes_;
      push_run(holding, {blocks.id, at, stop});
    }
    at = stop;
  }
}

void KvCache::add_blocks(std::size_t g, GroupHolding& holding, const TokenChain& chain,
                         std::uint32_t end, std::uint32_t final_end) {
  if (config_.prefix_caching) {
    for (std::size_t i = 0; i < element_count(chain) && holding.end < final_end; ++i) {
      ElementBlocks blocks = element(chain, i);
      if (blocks.end <= holding.end) continue;
      blocks.begin = std::max(blocks.begin, holding.end);
      blocks.end = std::min(blocks.end, final_end);
      if (blocks.begin < blocks.end) add_identified(g, holding, blocks);
    }
  }
  if (holding.end < end) push_run(holding, {TokenChain::kNoId, holding.end, end});
}

void KvCache::grow(Holding& holding, const TokenChain& chain, std::int64_t slots,
                   std::int64_t final_tokens) {
  apply_pending();
  const std::int64_t need = blocks_to_grow(holding, slots);
  MOESIM_CHECK(need <= free_, "a request grows only into free blocks");
  pop(need);
  free_ -= need;
  taken_ += need;
  const auto final_end =
      std::min(identified_end(chain),
               static_cast<std::uint32_t>(std::min(final_tokens, slots) / config_.block_size));
  for (std::size_t g = 0; g < holding.groups.size(); ++g) {
    GroupHolding& mine = holding.groups[g];
    const auto end = static_cast<std::uint32_t>(blocks_for(g, slots));
    if (final_end > mine.registered) {
      cut_runs(mine, std::max(mine.registered, mine.first));
      add_blocks(g, mine, chain, end, final_end);
      mine.registered = final_end;
    } else {
      add_blocks(g, mine, chain, end, 0);
    }
  }
}

/// The cached beginning of an element's blocks joins the holding; returns how many blocks that
/// were.
std::uint32_t KvCache::share_cached(std::size_t g, GroupHolding& holding, ElementBlocks blocks) {
  std::uint32_t end = blocks.begin;
  for (std::uint32_t e = head(g, blocks.id); e != kNone; e = extents_[e].sibling) {
    if (extents_[e].begin > end) break;
    end = std::max(end, std::min(extents_[e].end, blocks.end));
  }
  if (end == blocks.begin) return 0;
  const Run run{blocks.id, blocks.begin, end};
  reference(g, run);
  push_run(holding, run);
  return end - blocks.begin;
}

void KvCache::insert(Holding& holding, const TokenChain& chain, std::int64_t tokens, bool share) {
  apply_pending();
  const auto known =
      std::min(identified_end(chain), static_cast<std::uint32_t>(tokens / config_.block_size));
  for (std::size_t g = 0; g < holding.groups.size(); ++g) {
    GroupHolding& mine = holding.groups[g];
    const std::uint32_t end = mine.end;
    const std::uint32_t final_end = std::min(known, end);
    if (final_end <= mine.registered) continue;
    cut_runs(mine, mine.registered);
    std::uint32_t spare = 0;
    for (std::size_t i = 0; i < element_count(chain) && share && mine.end < final_end; ++i) {
      ElementBlocks blocks = element(chain, i);
      if (blocks.end <= mine.end) continue;
      blocks.begin = std::max(blocks.begin, mine.end);
      blocks.end = std::min(blocks.end, final_end);
      const std::uint32_t shared = share_cached(g, mine, blocks);
      spare += shared;
      if (shared < blocks.end - blocks.begin) break;  // from here on the content is new
    }
    add_blocks(g, mine, chain, end, final_end);
    mine.registered = final_end;
    if (spare > 0) give_first(spare);
  }
}

void KvCache::cut_runs(GroupHolding& holding, std::uint32_t end) {
  while (!holding.runs.empty() && holding.runs.back().begin >= end) holding.runs.pop_back();
  if (!holding.runs.empty()) holding.runs.back().end = std::min(holding.runs.back().end, end);
  holding.end = std::min(holding.end, end);
}

bool KvCache::has_identity(const GroupHolding& holding, std::uint32_t end) {
  for (const Run& run : holding.runs) {
    if (run.begin >= end) return false;
    if (run.id != TokenChain::kNoId) return true;
  }
  return false;
}

std::int64_t KvCache::outside_window(const Holding& holding, std::int64_t computed) const {
  std::int64_t result = 0;
  for (std::size_t g = 0; g < holding.groups.size(); ++g) {
    const GroupHolding& mine = holding.groups[g];
    const std::uint32_t first = std::min(first_visible(g, computed), mine.end);
    if (first > mine.first) result += first - mine.first;
  }
  return result;
}

bool KvCache::drops_identity(const Holding& holding, std::int64_t computed) const {
  for (std::size_t g = 0; g < holding.groups.size(); ++g) {
    if (has_identity(holding.groups[g], first_visible(g, computed))) return true;
  }
  return false;
}

bool KvCache::holds_windowed_identity(const Holding& holding) const {
  for (std::size_t g = 0; g < holding.groups.size(); ++g) {
    if (config_.groups[g].kind != AttentionKind::kFull && has_identity(holding.groups[g], kNone))
      return true;
  }
  return false;
}

void KvCache::drop_outside_window(Holding& holding, std::int64_t computed) {
  apply_pending();
  for (std::size_t g = 0; g < holding.groups.size(); ++g) {
    GroupHolding& mine = holding.groups[g];
    const std::uint32_t first = std::min(first_visible(g, computed), mine.end);
    if (first <= mine.first) continue;
    std::size_t gone = 0;
    while (gone < mine.runs.size() && mine.runs[gone].begin < first) ++gone;
    for (std::size_t i = gone; i-- > 0;) {  // the last block first
      Run& run = mine.runs[i];
      const std::uint32_t stop = std::min(run.end, first);
      free_run(g, {run.id, run.begin, stop});
      run.begin = stop;
    }
    std::erase_if(mine.runs, [](const Run& run) { return run.begin == run.end; });
    mine.first = first;
  }
}

void KvCache::release(Holding& holding, const TokenChain& chain, std::int64_t known_tokens,
                      Unnamed unnamed) {
  apply_pending();
  const auto known = std::min(identified_end(chain),
                              static_cast<std::uint32_t>(known_tokens / config_.block_size));
  for (std::size_t g = 0; g < holding.groups.size(); ++g) {
    GroupHolding& mine = holding.groups[g];
    const std::uint32_t end = mine.end;
    if (known > mine.registered) {
      cut_runs(mine, std::max(mine.registered, mine.first));
      mine.end = std::max(mine.end, mine.first);
      add_blocks(g, mine, chain, end, std::min(known, end));
    }
    for (std::size_t i = mine.runs.size(); i-- > 0;) {
      const Run& run = mine.runs[i];
      if (unnamed == Unnamed::kFirst && run.id == TokenChain::kNoId) {
        give_first(run.end - run.begin);
      } else {
        free_run(g, run);
      }
    }
    mine.runs.clear();
    mine.first = mine.end = mine.registered = 0;
  }
}

void KvCache::give_anonymous(std::int64_t count) {
  if (count == 0) return;
  free_ += count;
  const std::uint32_t e = new_extent();
  extents_[e].end = static_cast<std::uint32_t>(count);
  append_free(e);
}

void KvCache::catch_up(Holding& holding, std::int64_t slots, std::int64_t computed) {
  for (std::size_t g = 0; g < holding.groups.size(); ++g) {
    GroupHolding& mine = holding.groups[g];
    const auto end = static_cast<std::uint32_t>(blocks_for(g, slots));
    if (mine.end < end) push_run(mine, {TokenChain::kNoId, mine.end, end});
    const std::uint32_t first = first_visible(g, computed);
    if (first <= mine.first) continue;
    for (Run& run : mine.runs) {
      if (run.begin >= first) break;
      MOESIM_CHECK(run.id == TokenChain::kNoId,
                   "only blocks without identity leave a window uncounted");
      run.begin = std::min(first, run.end);
    }
    std::erase_if(mine.runs, [](const Run& run) { return run.begin == run.end; });
    mine.first = first;
  }
}

void KvCache::free_run(std::size_t g, const Run& run) {
  if (run.begin == run.end) return;
  if (run.id != TokenChain::kNoId) {
    unref(g, run);
    return;
  }
  free_ += run.end - run.begin;
  const std::uint32_t e = new_extent();
  extents_[e].end = run.end - run.begin;
  append_free(e);
}

void KvCache::unref(std::size_t g, const Run& run) {
  // Extents ascend; the last one is freed first. A run spans a few extents at most.
  std::uint32_t stop = run.end;
  while (stop > run.begin) {
    std::uint32_t last = kNone;
    for (std::uint32_t e = head(g, run.id); e != kNone && extents_[e].begin < stop;
         e = extents_[e].sibling) {
      last = e;
    }
    MOESIM_CHECK(last != kNone && extents_[last].refs > 0, "a released block was held");
    if (extents_[last].end > stop) split(last, stop);
    if (extents_[last].begin < run.begin) {
      split(last, run.begin);
      continue;
    }
    stop = extents_[last].begin;
    if (--extents_[last].refs == 0) {
      free_ += extents_[last].size();
      append_free(last);
    }
  }
}

}  // namespace moesim
