#include "scenarios/chain_ids.h"

#include <algorithm>

#include "sim/base/random.h"

namespace moesim {

ChainIds::ChainIds(std::size_t rows, std::size_t blocks) : first_(blocks + rows + 1) {}

std::size_t ChainIds::PairHash::operator()(const Pair& pair) const {
  return static_cast<std::size_t>(
      mix64(pair.block + 0x9e3779b97f4a7c15ULL * (std::uint64_t{pair.parent} + 1)));
}

std::uint32_t ChainIds::identity(std::uint32_t parent, std::uint64_t block) {
  if (block < first_.size()) {
    Known& known = first_[static_cast<std::size_t>(block)];
    if (known.id == kRoot) known = {parent, next_++};
    if (known.parent == parent) return known.id;
  }
  const auto [it, inserted] = others_.try_emplace({parent, block}, next_);
  if (inserted) ++next_;
  return it->second;
}

void ChainIds::append(std::span<const std::uint64_t> blocks, std::uint32_t prompt_tokens,
                      std::uint32_t block_tokens, Workload& workload) {
  std::uint32_t parent = kRoot;
  std::uint64_t end = 0;
  for (const std::uint64_t block : blocks) {
    end += block_tokens;
    parent = identity(parent, block);
    workload.chain.push_back(
        {parent, static_cast<std::uint32_t>(std::min<std::uint64_t>(end, prompt_tokens))});
  }
  workload.chain_begin.push_back(static_cast<std::uint32_t>(workload.chain.size()));
}

}  // namespace moesim
