#include "sim/steptime/moe_group.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"

namespace moesim {
namespace {

constexpr double kNs = 1e9;
constexpr std::size_t kShapes = 1024;  // of ranks and layers of a step

/// Largest over mean; 1 if there is nothing.
template <class T>
double imbalance(std::span<const T> loads) {
  double sum = 0, most = 0;
  for (const T load : loads) {
    sum += static_cast<double>(load);
    most = std::max(most, static_cast<double>(load));
  }
  return sum > 0 ? most * static_cast<double>(loads.size()) / sum : 1;
}

}  // namespace

MoeGroup::MoeGroup(Config config, ExpertPlacement placement)
    : config_(std::move(config)),
      whole_(config_.shard.parallel.expert_parallel),
      needs_copies_(config_.dispatch != nullptr && config_.dispatch->needs_copies()),
      prices_(kShapes) {
  for (const int node : config_.node_of_rank) nodes_ = std::max(nodes_, node + 1);
  const auto ranks = static_cast<std::size_t>(config_.ranks);
  rank_costs_.resize(ranks);
  slots_.resize(ranks);
  copies_.resize(ranks);
  node_copies_.resize(static_cast<std::size_t>(nodes_));
  set_placement(std::move(placement));
}

void MoeGroup::set_placement(ExpertPlacement placement) {
  placement_ = std::move(placement);
  if (!whole_) return;
  MOESIM_CHECK(placement_.ranks == config_.ranks, "the placement is of this group");
  replicas_ = ReplicaRanks(placement_, config_.node_of_rank);
  slot_counts_.resize(static_cast<std::size_t>(placement_.slots));
}

void MoeGroup::set_tier(const ExpertTier::Config& config, int layers, int experts) {
  if (whole_ && config_.ranks > 1) {
    tier_ = std::make_unique<ExpertTier>(config, placement_);
    return;
  }
  // Every rank has a slice of every expert: they are alike, and one stands for all.
  ExpertPlacement all = empty_placement(layers, experts, experts, 1);
  for (std::size_t i = 0; i < all.logical.size(); ++i)
    all.logical[i] = static_cast<std::uint16_t>(i % static_cast<std::size_t>(experts));
  tier_ = std::make_unique<ExpertTier>(config, all);
}

std::span<const std::uint32_t> MoeGroup::rank_counts(int rank, const LayerLoad& load) const {
  if (!whole_ || config_.ranks == 1) return load.counts;
  const auto first =
      static_cast<std::size_t>(placement_.first_slot[static_cast<std::size_t>(rank)]);
  const auto last =
      static_cast<std::size_t>(placement_.first_slot[static_cast<std::size_t>(rank) + 1]);
  return std::span<const std::uint32_t>(slot_counts_).subspan(first, last - first);
}

void MoeGroup::visit(int moe_layer, const LayerLoad& load) {
  if (tier_ == nullptr) return;
  const bool placed = whole_ && config_.ranks > 1;
  if (placed) spread(moe_layer, load);
  tier_->begin_layer(moe_layer, load.counts, 0);  // who learns computes nothing on the CPU
  for (int r = 0; r < (placed ? config_.ranks : 1); ++r)
    static_cast<void>(tier_->visit(r, rank_counts(r, load)));
}

/// Copies what a rank lacks for the layer begun last, and adds it up.
TierUse MoeGroup::fetch(int rank, std::span<const std::uint32_t> counts, MoeLayerCost& cost) {
  if (tier_ == nullptr) return {};
  const TierUse use = tier_->visit(rank, counts);
  cost.tier.looked += use.looked;
  cost.tier.hits += use.hits;
  cost.tier.ahead += use.ahead;
  cost.tier.bytes += use.bytes;
  cost.tier.demand_ns += use.demand_ns;
  cost.tier.ahead_ns += use.ahead_ns;
  cost.tier.computed += use.computed;
  cost.tier.cpu_ns += use.cpu_ns;
  cost.prefetch_ns = std::max(cost.prefetch_ns, use.ahead_ns);
  return use;
}

/// Tokens per slot: those sent there or, where nobody followed single tokens, equal shares of the
/// copies of an expert. What does not divide is dealt out in turn, going on from one expert to the
/// next; another copy begins at every step and layer, so that none is always the fuller one.
void MoeGroup::spread(int moe_layer, const LayerLoad& load) {
  if (!load.slots.empty()) {
    MOESIM_CHECK(load.slots.size() == slot_counts_.size(), "tokens were sent by this placement");
    std::ranges::copy(load.slots, slot_counts_.begin());
    return;
  }
  std::uint32_t turn = load.key + static_cast<std::uint32_t>(moe_layer);
  for (int e = 0; e < placement_.experts; ++e) {
    const std::uint32_t count = load.counts[static_cast<std::size_t>(e)];
    const auto slots = replicas_.slots(moe_layer, e);
    if (slots.size() == 1) {
      slot_counts_[slots.front()] = count;
      continue;
    }
    const auto copies = static_cast<std::uint32_t>(slots.size());
    const std::uint32_t share = count / copies;
    for (const std::uint16_t slot : slots) slot_counts_[slot] = share;
    std::uint32_t next = turn % copies;
    for (std::uint32_t rest = count % copies; rest > 0; --rest) {
      ++slot_counts_[slots[next]];
      next = next + 1 == copies ? 0 : next + 1;
    }
    turn += count;
  }
}

int MoeGroup::seen(const LayerClass& layers, int tokens, std::uint64_t pairs,
                   std::uint32_t copies) const {
  // With tokens sent where they are needed a rank sees those; else all of the group's.
  if (needs_copies_) return static_cast<int>(copies);
  return routed() ? static_cast<int>(pairs) / layers.spec.top_k + 1 : tokens;
}

RankCost MoeGroup::rank_cost(const LayerClass& layers, int seen,
                             std::span<const std::uint32_t> counts) {
  const Op op = config_.family->experts(config_.shard, layers, seen, counts);
  const KernelTime& time = prices_.of(*config_.kernels, &layers, op);
  RankCost cost;
  cost.gemm_ns = time.time.value() * kNs;
  // A shared expert in the same call is no choice of the router.
  cost.active =
      std::max(0, op.active_experts - (config_.shard.parallel.fused_shared_expert ? 1 : 0));
  cost.provenance = time.provenance;
  return cost;
}

/// The same with what `use` says of absent experts. Where the CPU computes some, the GPU has the
/// rest meanwhile, and the layer waits for the later of the two.
RankCost MoeGroup::rank_cost(const LayerClass& layers, int seen,
                             std::span<const std::uint32_t> counts, const TierUse& use) {
  RankCost cost;
  const bool cpu = use.computed > 0;
  if (!cpu || use.hits > 0 || config_.shard.parallel.fused_shared_expert)
    cost = rank_cost(layers, seen, cpu ? tier_->on_gpu() : counts);
  cost.active += use.computed;
  cost.copy_ns = use.demand_ns + std::max(0.0, use.cpu_ns - cost.gemm_ns);
  return cost;
}

void MoeGroup::price_ranks(const LayerClass& layers, int tokens, const LayerLoad& load,
                           MoeLayerCost& cost) {
  for (int r = 0; r < config_.ranks; ++r) {
    const auto rank = static_cast<std::size_t>(r);
    const auto counts = rank_counts(r, load);
    const TierUse use = fetch(r, counts, cost);
    std::uint64_t pairs = 0;
    for (const std::uint32_t c : counts) pairs += c;
    slots_[rank] = static_cast<double>(pairs);
    rank_costs_[rank] = {};
    if (pairs == 0) continue;
    const std::uint32_t copies = needs_copies_ ? load.rank_copies[rank] : 0;
    rank_costs_[rank] = rank_cost(layers, seen(layers, tokens, pairs, copies), counts, use);
  }
  meet(rank_costs_, cost);
}

/// The ranks of a layer wait for the slowest; `slots_` says what they have.
void MoeGroup::meet(std::span<const RankCost> ranks, MoeLayerCost& cost) const {
  double sum = 0, longest = 0, active = 0, copies = 0;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    if (slots_[r] == 0) continue;
    const RankCost& one = ranks[r];
    active += one.active;
    sum += one.gemm_ns;
    if (one.gemm_ns > 0) cost.provenance = one.provenance;
    copies += one.copy_ns;
    if (one.copy_ns + one.gemm_ns > longest) cost.straggler = static_cast<int>(r);
    longest = std::max(longest, one.copy_ns + one.gemm_ns);
  }
  cost.gemm_ns = sum / config_.ranks;
  cost.copy_ns = copies / config_.ranks;
  cost.wait_ns = longest - cost.gemm_ns - cost.copy_ns;
  cost.active = active / config_.ranks;
  cost.rank_imbalance = imbalance(std::span<const double>(slots_));
}

MoeLayerCost MoeGroup::cost(std::span<const RankCost> ranks, std::span<const std::uint32_t> pairs,
                            std::span<const double> held, const LayerLoad& load) {
  MoeLayerCost cost;
  std::ranges::copy(pairs, slots_.begin());
  meet(ranks, cost);
  if (config_.dispatch != nullptr) price_dispatch(held, load, cost);
  return cost;
}

void MoeGroup::price_dispatch(std::span<const double> held, const LayerLoad& load,
                              MoeLayerCost& cost) {
  if (needs_copies_) {
    std::ranges::copy(load.rank_copies, copies_.begin());
    std::ranges::copy(load.node_copies, node_copies_.begin());
  }
  const DispatchCost moved = config_.dispatch->cost({held, copies_, slots_, node_copies_});
  cost.dispatch_ns = moved.dispatch_ns;
  cost.combine_ns = moved.combine_ns;
  cost.bytes_intra = moved.dispatch_bytes_intra + moved.combine_bytes_intra;
  cost.bytes_inter = moved.dispatch_bytes_inter + moved.combine_bytes_inter;
}

MoeLayerCost MoeGroup::cost(const LayerClass& layers, int moe_layer, int tokens,
                            std::span<const double> held, const LayerLoad& load) {
  MoeLayerCost cost;
  cost.expert_imbalance = imbalance(load.counts);
  if (tier_ != nullptr) tier_->begin_layer(moe_layer, load.counts, tokens);
  if (whole_ && config_.ranks > 1) {
    spread(moe_layer, load);
    price_ranks(layers, tokens, load, cost);
  } else {
    const TierUse use = fetch(0, load.counts, cost);
    const RankCost alone = rank_cost(layers, tokens, load.counts, use);
    cost.copy_ns = alone.copy_ns;
    cost.gemm_ns = alone.gemm_ns;
    cost.active = alone.active;
    cost.provenance = alone.provenance;
    std::uint64_t pairs = 0;
    for (const std::uint32_t c : load.counts) pairs += c;
    std::ranges::fill(slots_, static_cast<double>(pairs));
  }
  if (config_.dispatch != nullptr) price_dispatch(held, load, cost);
  return cost;
}

}  // namespace moesim
