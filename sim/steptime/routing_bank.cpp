#include "sim/steptime/routing_bank.h"

#include <algorithm>
#include <bit>

#include "scenarios/routing_counts.h"
#include "sim/base/check.h"

namespace moesim {

StepLoad::StepLoad(int layers, int experts, int ranks, int nodes)
    : ranks_(ranks),
      experts_(static_cast<std::size_t>(experts)),
      width_(static_cast<std::size_t>(ranks + nodes)),
      counts_(static_cast<std::size_t>(layers) * experts_),
      copies_(static_cast<std::size_t>(layers) * width_) {}

void StepLoad::clear() {
  std::ranges::fill(counts_, 0U);
  std::ranges::fill(copies_, 0U);
}

void StepLoad::add(const RoutingTable& table, std::span<const std::uint64_t> rows,
                   std::uint32_t first_key, const ReplicaRanks& replicas) {
  count_rows(table, rows, counts_);
  if (ranks_ > 0) replicas.count_copies(table, rows, first_key, copies_.data());
}

LayerLoad StepLoad::layer(int index) const {
  const auto at = static_cast<std::size_t>(index);
  const auto ranks = static_cast<std::size_t>(ranks_);
  const auto copies = std::span<const std::uint32_t>(copies_).subspan(at * width_, width_);
  return {std::span<const std::uint32_t>(counts_).subspan(at * experts_, experts_),
          copies.first(ranks), copies.subspan(ranks)};
}

RoutingBank::RoutingBank(const Config& config, const ReplicaRanks* replicas)
    : config_(config), replicas_(replicas), levels_(kLevels + 1) {
  const RoutingShape& shape = config.draw.table->shape();
  const auto layers = static_cast<std::size_t>(shape.layers);
  counts_ = layers * static_cast<std::size_t>(shape.experts);
  row_ = counts_;
  if (config.copies)
    row_ += layers * static_cast<std::size_t>(replicas->ranks() + replicas->nodes());
}

void RoutingBank::count_block(int level, std::uint64_t index, std::uint16_t* cells) {
  const bool decode = config_.draw.kind == TokenKind::kDecode;
  Rng rng(config_.seed, decode ? "decode_block" : "prompt_block",
          static_cast<std::uint64_t>(level) << 32 | index);
  const auto origin =
      static_cast<std::uint32_t>(draw_rows(config_.draw, std::size_t{1} << level, rng, rows_));
  const RoutingTable& table = *config_.draw.table;
  count_rows(table, rows_, {cells, counts_});
  if (config_.copies) replicas_->count_copies(table, rows_, origin, cells + counts_);
}

const std::uint16_t* RoutingBank::block(int level, std::uint64_t index) {
  Level& blocks = levels_[static_cast<std::size_t>(level)];
  if (blocks.cells.empty()) {
    blocks.cells.resize(row_ * kBlocks);
    blocks.made.resize(kBlocks);
  }
  std::uint16_t* const cells = blocks.cells.data() + row_ * index;
  if (!blocks.made[index]) {
    blocks.made[index] = true;
    count_block(level, index, cells);
  }
  return cells;
}

void RoutingBank::draw(int tokens, std::uint64_t index, StepLoad& load) {
  MOESIM_CHECK(load.counts().size() == counts_, "the load has the bank's layout");
  load.clear();
  Rng rng(config_.seed, "draw", static_cast<std::uint64_t>(tokens) << 16 | index);
  const auto add = [&](int level, std::uint64_t which) {
    const std::uint16_t* const cells = block(level, which % kBlocks);
    std::uint32_t* const sums = load.counts().data();
    for (std::size_t i = 0; i < counts_; ++i) sums[i] += cells[i];
    std::uint32_t* const copies = load.copies().data();
    for (std::size_t i = counts_; i < row_; ++i) copies[i - counts_] += cells[i];
  };
  const std::uint64_t start = rng.next();
  std::uint64_t used = 0;
  for (int left = tokens >> kLevels; left > 0; --left) add(kLevels, start + used++);
  const auto rest = static_cast<std::uint32_t>(tokens & ((1 << kLevels) - 1));
  for (int level = kLevels - 1; level >= 0; --level) {
    if ((rest >> level & 1U) != 0) add(level, index + rng.next());
  }
}

}  // namespace moesim
