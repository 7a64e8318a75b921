#include <benchmark/benchmark.h>
#include <vector>

#include "sim/engine/kv_cache.h"

namespace moesim {
namespace {

KvCache::Config config(std::int64_t blocks) {
  KvCache::Config config;
  config.usable_blocks = blocks;
  config.groups = {{AttentionKind::kFull, 0, 32}};
  config.max_model_len = 131072;
  return config;
}

// Admit, fill and release a prompt of `elements` 512-token blocks of which the first half is
// cached.
void BM_KvCache_AdmitAndRelease(benchmark::State& state) {
  const auto elements = static_cast<std::uint32_t>(state.range(0));
  KvCache cache(config(1 << 20));
  std::vector<ChainElement> chain(elements);
  std::uint32_t fresh = elements / 2;
  KvCache::Holding holding;
  for (auto _ : state) {
    for (std::uint32_t i = 0; i < elements; ++i) {
      const bool shared = i < elements / 2;
      chain[i] = {shared ? i : fresh++ % (1U << 20), 512 * (i + 1)};
    }
    const TokenChain tokens{chain, false, TokenChain::kNoId};
    const std::int64_t length = 512LL * elements;
    const std::uint32_t hit = cache.find_hit(tokens, length);
    cache.take_hit(holding, tokens, hit);
    cache.grow(holding, tokens, length, length);
    cache.release(holding, tokens, length);
  }
  state.SetItemsProcessed(state.iterations() * elements);
}
BENCHMARK(BM_KvCache_AdmitAndRelease)->ArgName("elements")->Arg(2)->Arg(24)->Arg(160);

}  // namespace
}  // namespace moesim
