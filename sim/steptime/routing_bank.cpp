#include "sim/steptime/routing_bank.h"

#include <algorithm>
#include <bit>

#include "scenarios/routing_counts.h"
#include "sim/base/check.h"
#include "sim/steptime/moe_model.h"

namespace moesim {
namespace {

constexpr double kRound = 0.5;  // of positive values; std::lround is a call for each

void shrink(std::span<std::uint32_t> values, double scale) {
  if (values.empty()) return;
  std::uint64_t sum = 0;
  for (const std::uint32_t value : values) sum += value;
  const double mean = static_cast<double>(sum) / static_cast<double>(values.size());
  for (std::uint32_t& value : values)
    value = static_cast<std::uint32_t>(mean + (value - mean) * scale + kRound);
}

}  // namespace

StepLoad::StepLoad(int layers, int experts, int ranks, int nodes, int slots)
    : ranks_(ranks),
      experts_(static_cast<std::size_t>(experts)),
      width_(static_cast<std::size_t>(ranks + nodes)),
      layer_slots_(static_cast<std::size_t>(slots)),
      counts_(static_cast<std::size_t>(layers) * experts_),
      copies_(static_cast<std::size_t>(layers) * width_),
      slots_(static_cast<std::size_t>(layers) * layer_slots_) {}

StepLoad step_load(std::span<const MoeStageSpec> stages, const RoutingShape& shape, bool by_slot) {
  const MoeGroup& group = stages.front().group;
  const bool copies =
      std::ranges::any_of(stages, [](const MoeStageSpec& s) { return s.group.needs_copies(); });
  if (!copies) return {shape.layers, shape.experts, 0, 0};
  const bool slots = by_slot && group.replicas().copied();
  return {shape.layers, shape.experts, group.ranks(), group.nodes(),
          slots ? group.replicas().layer_slots() : 0};
}

void StepLoad::clear(std::uint32_t key) {
  key_ = key;
  std::ranges::fill(counts_, 0U);
  std::ranges::fill(copies_, 0U);
  std::ranges::fill(slots_, 0U);
}

void StepLoad::add(const RoutingTable& table, std::span<const std::uint64_t> rows,
                   std::uint32_t first_key, const ReplicaRanks& replicas) {
  count_rows(table, rows, counts_);
  if (ranks_ == 0) return;
  replicas.count_copies(table, rows, key_ + first_key, copies_.data(),
                        slots_.empty() ? nullptr : slots_.data());
}

void StepLoad::even_out(double scale, const ReplicaRanks& replicas) {
  const auto ranks = static_cast<std::size_t>(ranks_);
  for (std::size_t l = 0; l < counts_.size() / experts_; ++l) {
    const auto counts = std::span(counts_).subspan(l * experts_, experts_);
    double mean = 0;
    for (const std::uint32_t count : counts) mean += count / static_cast<double>(experts_);
    shrink(counts, scale);
    shrink(std::span(copies_).subspan(l * width_, ranks), scale);
    shrink(std::span(copies_).subspan(l * width_ + ranks, width_ - ranks), scale);
    for (std::size_t e = 0; layer_slots_ > 0 && e < experts_; ++e) {
      const auto slots = replicas.slots(static_cast<int>(l), static_cast<int>(e));
      const double share = mean / static_cast<double>(slots.size());
      for (const std::uint16_t slot : slots) {
        std::uint32_t& tokens = slots_[l * layer_slots_ + slot];
        tokens = static_cast<std::uint32_t>(share + (tokens - share) * scale + kRound);
      }
    }
  }
}

LayerLoad StepLoad::layer(int index) const {
  const auto at = static_cast<std::size_t>(index);
  const auto ranks = static_cast<std::size_t>(ranks_);
  const auto copies = std::span<const std::uint32_t>(copies_).subspan(at * width_, width_);
  return {std::span<const std::uint32_t>(counts_).subspan(at * experts_, experts_),
          copies.first(ranks), copies.subspan(ranks),
          std::span<const std::uint32_t>(slots_).subspan(at * layer_slots_, layer_slots_), key_};
}

RoutingBank::RoutingBank(const Config& config, const ReplicaRanks* replicas)
    : config_(config), replicas_(replicas), levels_(kLevels + 1) {
  const RoutingShape& shape = config.draw.table->shape();
  const auto layers = static_cast<std::size_t>(shape.layers);
  counts_ = layers * static_cast<std::size_t>(shape.experts);
  if (config.copies) {
    copies_ = layers * static_cast<std::size_t>(replicas->ranks() + replicas->nodes());
    if (replicas->copied()) slots_ = layers * static_cast<std::size_t>(replicas->layer_slots());
  }
  row_ = counts_ + copies_ + slots_;
}

void RoutingBank::count_block(int level, std::uint64_t index, std::uint16_t* cells) {
  const bool decode = config_.draw.kind == TokenKind::kDecode;
  Rng rng(config_.seed, decode ? "decode_block" : "prompt_block",
          static_cast<std::uint64_t>(level) << 32 | index);
  const auto origin =
      static_cast<std::uint32_t>(draw_rows(config_.draw, std::size_t{1} << level, rng, rows_));
  const RoutingTable& table = *config_.draw.table;
  count_rows(table, rows_, {cells, counts_});
  if (!config_.copies) return;
  std::uint16_t* const copies = cells + counts_;
  replicas_->count_copies(table, rows_, origin, copies, slots_ > 0 ? copies + copies_ : nullptr);
}

void RoutingBank::draw_few(int tokens, std::uint64_t index, StepLoad& load) {
  const bool decode = config_.draw.kind == TokenKind::kDecode;
  Rng rng(config_.seed, decode ? "decode_tokens" : "prompt_tokens",
          static_cast<std::uint64_t>(tokens) << 16 | index);
  draw_rows(config_.draw, static_cast<std::size_t>(tokens), rng, rows_);
  load.add(*config_.draw.table, rows_, 0, *replicas_);
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
  MOESIM_CHECK(load.counts().size() == counts_ && load.slots().size() == slots_,
               "the load has the bank's layout");
  load.clear(static_cast<std::uint32_t>(index));
  if (slots_ > 0 && tokens <= kFew) return draw_few(tokens, index, load);
  Rng rng(config_.seed, "draw", static_cast<std::uint64_t>(tokens) << 16 | index);
  const auto add = [&](int level, std::uint64_t which) {
    const std::uint16_t* const cells = block(level, which % kBlocks);
    std::uint32_t* const sums = load.counts().data();
    for (std::size_t i = 0; i < counts_; ++i) sums[i] += cells[i];
    std::uint32_t* const copies = load.copies().data();
    for (std::size_t i = 0; i < copies_; ++i) copies[i] += cells[counts_ + i];
    std::uint32_t* const slots = load.slots().data();
    for (std::size_t i = 0; i < slots_; ++i) slots[i] += cells[counts_ + copies_ + i];
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
