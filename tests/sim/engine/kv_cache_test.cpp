#include "sim/engine/kv_cache.h"

#include <doctest/doctest.h>
#include <vector>

using namespace moesim;

namespace {

constexpr KvGroup kFullGroup{AttentionKind::kFull, 0, 1};

KvGroup sliding(int window) {
  return {AttentionKind::kSliding, window, 1};
}
KvGroup chunked(int window) {
  return {AttentionKind::kChunked, window, 1};
}

KvCache cache_of(std::int64_t blocks, std::vector<KvGroup> groups = {kFullGroup}) {
  return KvCache({.usable_blocks = blocks,
                  .block_size = 4,
                  .groups = std::move(groups),
                  .prefix_caching = true,
                  .max_num_batched_tokens = 8,
                  .max_model_len = 64});
}

/// A request with a chain of its own memory.
struct Client {
  std::vector<ChainElement> elements;
  bool open = false;
  std::uint32_t own_id = TokenChain::kNoId;
  KvCache::Holding holding = {};

  [[nodiscard]] TokenChain chain() const { return {elements, open, own_id}; }
  /// Computes `tokens` prompt tokens from nothing.
  void compute(KvCache& cache, std::int64_t tokens) {
    const std::uint32_t hit = cache.find_hit(chain(), tokens);
    cache.take_hit(holding, chain(), hit);
    cache.grow(holding, chain(), tokens, tokens);
  }
  void decode(KvCache& cache, std::int64_t slots) { cache.grow(holding, chain(), slots, 0); }
  void release(KvCache& cache, std::int64_t known) { cache.release(holding, chain(), known); }
  [[nodiscard]] std::uint32_t hit(KvCache& cache, std::int64_t tokens) const {
    return cache.find_hit(chain(), tokens);
  }
};

}  // namespace

TEST_CASE("a holding takes whole blocks and gives all of them back") {
  KvCache cache = cache_of(10);
  Client a;
  a.compute(cache, 5);
  CHECK(cache.free_blocks() == 8);
  CHECK(cache.blocks_to_grow(a.holding, 8) == 0);
  CHECK(cache.blocks_to_grow(a.holding, 9) == 1);
  a.decode(cache, 9);
  CHECK(cache.free_blocks() == 7);
  a.release(cache, 9);
  CHECK(cache.free_blocks() == 10);
  CHECK(cache.blocks_taken() == 3);
  CHECK(cache.blocks_evicted() == 0);
  CHECK(cache.consistent());
}

TEST_CASE("a hit is whole blocks, at most all tokens but one, up to the first missing block") {
  KvCache cache = cache_of(20);
  Client a{{{0, 8}, {1, 14}}};
  a.compute(cache, 14);
  struct Case {
    std::string why;
    Client who;
    std::int64_t tokens;
    std::uint32_t expect;
  };
  const std::vector<Case> cases = {
      {"the same prompt: 3 whole blocks of 14 tokens", {{{0, 8}, {1, 14}}}, 14, 3},
      {"12 tokens: the last must be computed, so 11 tokens may hit", {{{0, 8}, {1, 12}}}, 12, 2},
      {"13 tokens", {{{0, 8}, {1, 13}}}, 13, 3},
      {"another second element", {{{0, 8}, {2, 14}}}, 14, 2},
      {"another first element", {{{3, 8}, {1, 14}}}, 14, 0},
      {"no chain", {{}}, 14, 0},
      {"a chain that ends early", {{{0, 6}}}, 14, 1},
      {"one token", {{{0, 1}}}, 1, 0},
  };
  for (const Case& c : cases) {
    INFO(c.why);
    CHECK(c.who.hit(cache, c.tokens) == c.expect);
  }
}

TEST_CASE("an element may be longer in another chain: its hit ends where the own one ends") {
  KvCache cache = cache_of(20);
  Client longer{{{0, 16}}};
  longer.compute(cache, 16);
  Client shorter{{{0, 8}}, false, 7};
  CHECK(shorter.hit(cache, 16) == 2);
}

TEST_CASE("hits in use cost nothing, idle hits cost free blocks") {
  KvCache cache = cache_of(10);
  Client a{{{0, 12}}};
  a.compute(cache, 12);
  Client b{{{0, 12}}};
  CHECK(cache.blocks_needed(b.chain(), 2, 12) == 1);
  a.release(cache, 12);
  CHECK(cache.blocks_needed(b.chain(), 2, 12) == 3);
  CHECK(cache.blocks_needed_in_full(b.chain(), 2, 20) == 5);
  b.compute(cache, 12);
  CHECK(cache.free_blocks() == 7);
  CHECK(cache.consistent());
}

TEST_CASE("two holders of a block: it is free when the second lets go") {
  KvCache cache = cache_of(10);
  Client a{{{0, 9}}};
  Client b{{{0, 9}}};
  a.compute(cache, 9);
  b.compute(cache, 9);
  CHECK(cache.free_blocks() == 6);  // 3, and one more for b's last token
  a.release(cache, 9);
  CHECK(cache.free_blocks() == 7);
  b.release(cache, 9);
  CHECK(cache.free_blocks() == 10);
}

TEST_CASE("eviction takes the longest free first, and of a request its tail") {
  KvCache cache = cache_of(6);
  Client a{{{0, 12}}};
  Client b{{{1, 8}}};
  a.compute(cache, 12);
  b.compute(cache, 8);
  a.release(cache, 12);  // free: one never used, then a2 a1 a0
  b.release(cache, 8);   // then b1 b0
  Client c;
  c.compute(cache, 8);
  CHECK(cache.blocks_evicted() == 1);
  CHECK(a.hit(cache, 13) == 2);
  Client d;
  d.compute(cache, 12);
  CHECK(cache.blocks_evicted() == 4);
  CHECK(a.hit(cache, 13) == 0);
  CHECK(b.hit(cache, 9) == 1);
}

TEST_CASE("a hit moves its blocks to the young end when they are released again") {
  KvCache cache = cache_of(4);
  Client a{{{0, 8}}};
  Client b{{{1, 8}}};
  a.compute(cache, 8);
  b.compute(cache, 8);
  a.release(cache, 8);
  b.release(cache, 8);  // a1 a0 b1 b0
  Client again{{{0, 8}}};
  cache.take_hit(again.holding, again.chain(), 2);
  again.release(cache, 8);  // b1 b0 a1 a0
  Client c;
  c.compute(cache, 8);
  CHECK(b.hit(cache, 9) == 0);
  CHECK(a.hit(cache, 9) == 2);
}

TEST_CASE("the first copy owns the content") {
  KvCache cache = cache_of(8);
  Client a{{{0, 8}}};
  Client b{{{0, 8}}};
  a.compute(cache, 8);
  b.compute(cache, 8);  // hits block 0, computes block 1 once more
  CHECK(cache.free_blocks() == 5);
  b.release(cache, 8);
  CHECK(a.hit(cache, 9) == 2);
  a.release(cache, 8);
  CHECK(cache.free_blocks() == 8);
  CHECK(cache.consistent());
}

TEST_CASE("blocks counted by steps leave the list before the next look-up") {
  KvCache cache = cache_of(3);
  Client a{{{0, 8}}};
  a.compute(cache, 8);
  a.release(cache, 8);
  cache.take_uncounted(2);
  CHECK(cache.free_blocks() == 1);
  CHECK(cache.blocks_taken() == 4);
  CHECK(cache.blocks_evicted() == 1);
  CHECK(cache.consistent());
  CHECK(a.hit(cache, 9) == 1);
  cache.give_anonymous(2);
  CHECK(cache.free_blocks() == 3);
  CHECK(cache.consistent());
}

TEST_CASE("generated tokens get an identity when released: with an id of its own, or an open end") {
  struct Case {
    std::string why;
    Client who;
    std::int64_t known;
    std::uint32_t expect;
  };
  const std::vector<Case> cases = {
      {"a closed chain ends with the prompt", {{{0, 6}}}, 13, 1},
      {"an open one goes on", {{{0, 6}}, true}, 13, 3},
      {"so does an id of its own", {{{0, 6}}, false, 9}, 13, 3},
      {"no chain, an id of its own", {{}, false, 9}, 13, 3},
      {"only what is known", {{{0, 6}}, true}, 11, 2},
      {"no identity at all", {{}}, 13, 0},
  };
  for (const Case& c : cases) {
    INFO(c.why);
    KvCache cache = cache_of(20);
    Client who = c.who;
    who.compute(cache, 6);
    who.decode(cache, 13);
    who.release(cache, c.known);
    CHECK(who.hit(cache, 14) == c.expect);
    CHECK(cache.free_blocks() == 20);
  }
}

TEST_CASE("prompt blocks beyond the chain are named when an id of its own appears") {
  KvCache cache = cache_of(20);
  Client a{{{0, 4}}};
  a.compute(cache, 12);
  a.own_id = 5;
  a.release(cache, 12);
  CHECK(a.hit(cache, 13) == 3);
  Client b{{{0, 4}}, false, 6};
  CHECK(b.hit(cache, 13) == 1);
}

TEST_CASE("windows: what the next token cannot see is free, a hit needs only what it sees") {
  KvCache cache = cache_of(20, {kFullGroup, sliding(5)});
  CHECK(cache.first_visible(0, 100) == 0);
  CHECK(cache.first_visible(1, 4) == 0);
  CHECK(cache.first_visible(1, 7) == 0);  // sees 3..7
  CHECK(cache.first_visible(1, 8) == 1);  // sees 4..8
  CHECK(cache.first_visible(1, 11) == 1);
  CHECK(cache.first_visible(1, 12) == 2);

  Client a{{{0, 16}}};
  a.compute(cache, 12);
  CHECK(cache.free_blocks() == 14);
  CHECK(cache.outside_window(a.holding, 12) == 2);
  CHECK(cache.drops_identity(a.holding, 12));
  cache.drop_outside_window(a.holding, 12);
  CHECK(cache.free_blocks() == 16);
  cache.grow(a.holding, a.chain(), 16, 16);
  CHECK(cache.free_blocks() == 14);

  Client b{{{0, 16}}};
  CHECK(b.hit(cache, 17) == 4);
  // Full: 4 blocks in use. Window: only block 3, in use. New: one block per group.
  CHECK(cache.blocks_needed(b.chain(), 4, 17) == 2);
  b.compute(cache, 17);
  CHECK(cache.free_blocks() == 12);
  b.release(cache, 16);
  a.release(cache, 16);
  CHECK(cache.free_blocks() == 20);
  CHECK(cache.consistent());
}

TEST_CASE("a windowed group shortens the hit to a length whose window it still has") {
  KvCache cache = cache_of(9, {kFullGroup, sliding(5)});
  Client a{{{0, 16}}};
  a.compute(cache, 12);
  cache.drop_outside_window(a.holding, 12);  // free: three unused, window blocks 1 and 0
  cache.grow(a.holding, a.chain(), 16, 16);  // one unused left
  Client b;
  b.compute(cache, 4);  // takes it, and window block 1
  CHECK(cache.blocks_evicted() == 1);
  CHECK(a.hit(cache, 17) == 4);  // the window needs block 3
  CHECK(a.hit(cache, 9) == 1);   // two blocks would need window block 1
}

TEST_CASE("chunked attention: at a border nothing before is needed") {
  KvCache cache = cache_of(40, {chunked(8)});
  Client a{{{0, 24}}};
  a.compute(cache, 20);
  CHECK(cache.first_visible(0, 7) == 0);
  CHECK(cache.first_visible(0, 8) == 2);
  cache.drop_outside_window(a.holding, 20);
  CHECK(cache.free_blocks() == 39);  // block 4 only: tokens 16..19
  CHECK(a.hit(cache, 24) == 5);
  CHECK(cache.blocks_needed(a.chain(), 5, 24) == 1);
}

TEST_CASE("the whole-sequence check asks a windowed group for its window and one step") {
  // ceil(min(window - 1 + 8, 64) / 4) + 1; chunked: window + 8.
  const KvCache::Config config{.usable_blocks = 100,
                               .block_size = 4,
                               .groups = {},
                               .prefix_caching = true,
                               .max_num_batched_tokens = 8,
                               .max_model_len = 64};
  const auto need = [&](const KvGroup& group, std::int64_t tokens) {
    KvCache::Config one = config;
    one.groups = {group};
    return KvCache(one).blocks_needed_in_full({}, 0, tokens);
  };
  CHECK(need(kFullGroup, 60) == 15);
  CHECK(need(kFullGroup, 80) == 16);
  CHECK(need(sliding(5), 60) == 4);
  CHECK(need(chunked(5), 60) == 5);
  CHECK(need(sliding(5), 6) == 2);
  CHECK(need({AttentionKind::kLinear, 0, 1}, 60) == 1);
}

TEST_CASE("linear attention holds one block, and there is no prefix caching with it") {
  KvCache cache = cache_of(20, {kFullGroup, {AttentionKind::kLinear, 0, 1}});
  CHECK_FALSE(cache.caching());
  Client a{{{0, 12}}};
  a.compute(cache, 12);
  CHECK(cache.free_blocks() == 16);
  CHECK(a.hit(cache, 13) == 0);
  a.decode(cache, 13);
  CHECK(cache.free_blocks() == 15);
  a.release(cache, 13);
  CHECK(cache.free_blocks() == 20);
}

TEST_CASE("an untouched holding catches up with what was counted for it") {
  KvCache cache = cache_of(20, {kFullGroup, sliding(4)});
  Client a;
  a.compute(cache, 4);
  cache.take_uncounted(4);  // 5..12 tokens: two blocks in each group
  cache.give_anonymous(2);  // at 11 computed tokens the window is 8..11
  cache.catch_up(a.holding, 12, 11);
  CHECK(cache.blocks_to_grow(a.holding, 12) == 0);
  CHECK(cache.outside_window(a.holding, 11) == 0);
  a.release(cache, 12);
  CHECK(cache.free_blocks() == 20);
  CHECK(cache.consistent());
}

TEST_CASE("the change counter moves when content appears or idle content comes into use") {
  KvCache cache = cache_of(20);
  Client a{{{0, 8}}};
  const std::uint64_t start = cache.changes();
  a.compute(cache, 8);
  const std::uint64_t computed = cache.changes();
  CHECK(computed > start);
  a.release(cache, 8);
  CHECK(cache.changes() == computed);
  Client b{{{0, 8}}};
  cache.take_hit(b.holding, b.chain(), 1);
  CHECK(cache.changes() > computed);
}
