#include "tests/reference/plain_blocks.h"

#include "sim/base/check.h"

namespace moesim::reference {

PlainBlocks::PlainBlocks(std::int64_t usable) : blocks_(static_cast<std::size_t>(usable)) {
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    blocks_[b].place = queue_.insert(queue_.end(), static_cast<Block>(b));
  }
}

std::optional<PlainBlocks::Block> PlainBlocks::find(const Identity& identity) const {
  const auto it = owners_.find(identity);
  if (it == owners_.end()) return std::nullopt;
  return it->second;
}

PlainBlocks::Block PlainBlocks::take() {
  MOESIM_CHECK(!queue_.empty(), "blocks are taken while there are some");
  const Block block = queue_.front();
  queue_.pop_front();
  State& state = at(block);
  if (state.identity) {
    owners_.erase(*state.identity);
    state.identity.reset();
    ++evicted_;
  }
  state.references = 1;
  ++taken_;
  return block;
}

void PlainBlocks::share(Block block) {
  State& state = at(block);
  if (state.references++ == 0) queue_.erase(state.place);
}

void PlainBlocks::release(Block block) {
  State& state = at(block);
  MOESIM_CHECK(state.references > 0, "a released block is in use");
  if (--state.references == 0) state.place = queue_.insert(queue_.end(), block);
}

void PlainBlocks::name(Block block, const Identity& identity) {
  if (!owners_.emplace(identity, block).second) return;
  at(block).identity = identity;
}

}  // namespace moesim::reference
