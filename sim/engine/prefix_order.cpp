#include "sim/engine/prefix_order.h"

#include <algorithm>

#include "sim/engine/scheduler.h"

namespace moesim {
namespace {

constexpr std::size_t kMostSorted = 128;
/// A shared prefix this long makes a request wait for the one that computes it.
constexpr std::int64_t kSharedPrefix = 32;

}  // namespace

void LongestPrefixFirst::apply(SchedulerState& state) {
  const std::size_t count = state.running.waiting_count();
  if (count > kMostSorted) return;
  ranked_.clear();
  seen_.clear();
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t request = state.running.waiting_at(i);
    const TokenChain chain = state.chain(request);
    const std::int64_t known =
        std::int64_t{state.workload->prompt_tokens[request]} + state.table->generated[request];
    std::int64_t prefix =
        static_cast<std::int64_t>(state.kv.find_hit(chain, known)) * state.kv.block_size();
    // The element that holds token 32 names everything before it.
    const auto shared =
        std::find_if(chain.elements.begin(), chain.elements.end(),
                     [](const ChainElement& element) { return element.end >= kSharedPrefix; });
    if (prefix <= kSharedPrefix && shared != chain.elements.end()) {
      const bool known_id = std::find(seen_.begin(), seen_.end(), shared->id) != seen_.end();
      if (known_id) {
        prefix = -1;
      } else {
        seen_.push_back(shared->id);
      }
    }
    ranked_.push_back({request, prefix});
  }
  std::stable_sort(ranked_.begin(), ranked_.end(),
                   [](const Ranked& a, const Ranked& b) { return a.prefix > b.prefix; });
  sorted_.clear();
  for (const Ranked& entry : ranked_) sorted_.push_back(entry.request);
  state.running.reorder_waiting(sorted_);
}

}  // namespace moesim
