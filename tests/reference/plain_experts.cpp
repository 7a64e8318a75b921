#include "tests/reference/plain_experts.h"

#include <algorithm>
#include <set>
#include <stdexcept>

namespace moesim::reference {

namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

bool gathers(const std::string& backend) {
  return backend == "naive" || backend == "allgather_reducescatter";
}

/// Messages of these carry a token once per rank, not once per expert.
bool per_rank(const std::string& backend) {
  return backend == "deepep_high_throughput" || backend == "deepep_v2" ||
         backend == "mori_high_throughput" || backend.starts_with("flashinfer");
}

int tokens_in(const StepWork& work) {
  int tokens = work.decodes;
  for (const PromptChunk& chunk : work.chunks) tokens += chunk.tokens;
  return tokens;
}

/// Where nobody follows single tokens: choices one by one, expert by expert, each to the copy after
/// the one before. Experts of one copy are passed over.
void deal(const std::vector<std::vector<int>>& slots_of, std::size_t turn,
          const std::vector<double>& counts, std::vector<std::uint32_t>& on_slot) {
  for (std::size_t e = 0; e < slots_of.size(); ++e) {
    const std::vector<int>& copies = slots_of[e];
    for (int i = 0; i < static_cast<int>(counts[e]); ++i)
      ++on_slot[at(copies.size() == 1 ? copies[0] : copies[turn++ % copies.size()])];
  }
}

/// The stage as if it had one layer, no embedding, and nobody to send its result to.
Shard only_layer(Shard shard, int layer) {
  shard.first_layer = layer;
  shard.last_layer = layer + 1;
  shard.has_embedding = false;
  shard.has_lm_head = true;
  return shard;
}

/// What graph a rank would run its tokens in, and how many it would run there (1.8).
struct Graph {
  GraphMode mode = GraphMode::kNone;
  int padded = 0;
};
Graph own_graph(const EngineSpec& engine, int tokens, bool prompts) {
  const Graph none{GraphMode::kNone, tokens};
  if (engine.enforce_eager) return none;
  const EngineProfile& profile = engine.profile;
  const bool own = prompts && profile.prompt_graphs == PromptGraphs::kOwn;
  for (const int size : own ? engine.prompt_capture_sizes : engine.cudagraph_capture_sizes) {
    if (size < tokens) continue;
    const bool full = !prompts && profile.full_graphs && size <= engine.max_num_seqs;
    if (!full && !own && profile.prompt_graphs != PromptGraphs::kSame) return none;
    if (!own && !profile.pad_to_graph && size != tokens) return none;
    return {full ? GraphMode::kFull : GraphMode::kPiecewise, size};
  }
  return none;
}

/// Graphs of all ranks agree on the least, and are padded to the largest of them (1.10); who does
/// not pad needs the same batch everywhere (TensorRT-LLM). Graphs of prompts' own are for a rank
/// alone (SGLang, 8.1).
Graph common_graph(const EngineSpec& engine, std::span<const StepWork> ranks) {
  const bool prompts =
      std::ranges::any_of(ranks, [](const StepWork& work) { return !work.chunks.empty(); });
  Graph common{GraphMode::kFull, 0};
  const int first =
      ranks.size() > 1 ? std::max(1, tokens_in(ranks.front())) : tokens_in(ranks.front());
  for (const StepWork& work : ranks) {
    const int tokens = ranks.size() > 1 ? std::max(1, tokens_in(work)) : tokens_in(work);
    const Graph own = own_graph(engine, tokens, prompts);
    const bool ragged = prompts && engine.profile.prompt_graphs == PromptGraphs::kOwn;
    if (ranks.size() > 1 && ragged) common.mode = GraphMode::kNone;
    if (!engine.profile.pad_to_graph && tokens != first) common.mode = GraphMode::kNone;
    common.mode = std::min(common.mode, own.mode);
    common.padded = std::max(common.padded, own.padded);
  }
  return common;
}

}  // namespace

double PlainExperts::ns(const Op& op) const {
  return config_.kernels->time(op).time.value() * 1e9 * op.repeat;
}

/// All tokens of a step in the order engines list them: rank by rank, decodes before prompts, then
/// what fills the ranks up.
std::vector<PlainExperts::Token> PlainExperts::tokens_of(std::span<const StepWork> ranks,
                                                         int padded) const {
  std::vector<Token> out;
  const std::uint64_t step = ranks.front().step;
  for (const StepWork& work : ranks) {
    for (const RoutedToken& token : work.tokens) out.push_back({step, true, token, out.size()});
    for (const PromptChunk& chunk : work.chunks) {
      const auto prompt = static_cast<int>(config_.prompt_tokens[chunk.request]);
      for (int i = chunk.context; i < chunk.context + chunk.tokens; ++i) {
        const bool in_prompt = i < prompt;  // else output that is computed again
        const auto index = static_cast<std::uint32_t>(in_prompt ? i : i - prompt);
        out.push_back({step, true, {chunk.request, index, in_prompt}, out.size()});
      }
    }
  }
  while (static_cast<int>(out.size()) < padded) out.push_back({step, false, {}, out.size()});
  return out;
}

std::vector<int> PlainExperts::experts_of(const Token& token, int moe_layer) const {
  return token.real ? config_.choice(token.name, moe_layer)
                    : config_.filling(token.step, token.index, moe_layer);
}

double PlainExperts::attention_ns(const Shard& shard, const LayerSpec& layer,
                                  const StepWork& work) const {
  const auto family = make_family(*config_.model);
  const LayerClass one{layer, 1};
  double sum = 0;
  if (work.decodes > 0) {
    std::size_t group = 0;
    for (std::size_t g = 0; g < config_.kv.groups.size(); ++g) {
      const KvGroup& stored = config_.kv.groups[g];
      if (stored.kind == layer.attention && stored.window == layer.window) group = g;
    }
    sum += ns(family->attention_decode(shard, one, work.decodes, work.decode_context[group]));
  }
  Op prompts;
  for (const PromptChunk& chunk : work.chunks) {
    const Op op = family->attention_prefill(shard, one, chunk.tokens, chunk.context);
    if (&chunk == work.chunks.data()) {
      prompts = op;
    } else {
      add_sequences(prompts, op);
    }
  }
  return work.chunks.empty() ? sum : sum + ns(prompts);
}

double PlainExperts::token_ns(const Shard& shard, int tokens) const {
  std::vector<Op> ops;
  make_family(*config_.model)->token_ops(shard, tokens, ops);
  double sum = 0;
  for (const Op& op : ops) sum += ns(op);
  return sum;
}

double PlainExperts::head_ns(const Shard& shard, const StepWork& work) const {
  if (!shard.has_lm_head) return 0;
  std::vector<Op> ops;
  make_family(*config_.model)->sample_ops(shard, work.sampled_rows, ops);
  double sum = 0;
  for (const Op& op : ops) sum += ns(op);
  return sum;
}

double PlainExperts::launch_ns(const Shard& shard, GraphMode mode) const {
  const LaunchCost& launch = config_.engine.profile.launch;
  const double layers = shard.last_layer - shard.first_layer;
  double us = launch.full_us;
  if (mode == GraphMode::kNone) us = layers * launch.eager_layer_us;
  if (mode == GraphMode::kPiecewise)
    us = (layers + 1) * launch.piece_us + layers * launch.piece_attention_us;
  return us * 1e3;
}

/// Tokens each part of the MoE group has before the dispatch: TP ranks split theirs or all hold
/// them; ranks an expert is cut over count as one.
std::vector<double> PlainExperts::held(const std::vector<int>& rank_tokens) const {
  const Parallel& p = config_.parallel;
  std::vector<double> out(at(p.tp * p.dp / p.moe_tp), 0.0);
  const bool split = p.expert_parallel && p.tp > 1 && p.dp > 1;
  for (int rank = 0; rank < p.tp * p.dp; ++rank)
    out[at(rank / p.moe_tp)] += rank_tokens[at(rank / p.tp)] / (split ? double(p.tp) : 1.0);
  return out;
}

void PlainExperts::route(const std::vector<Token>& tokens, int moe_layer,
                         const std::vector<int>& nodes, PlainTraffic& traffic, PlainLayer& out,
                         std::vector<std::vector<std::uint32_t>>& slot_counts) const {
  const ExpertPlacement& place = config_.placement;
  const int parts = config_.parallel.moe_ep();
  std::vector<std::vector<int>> slots_of(out.counts.size());  // [expert] its copies
  const auto experts = parts > 1 ? place.layer(moe_layer) : std::span<const std::uint16_t>{};
  for (std::size_t s = 0; s < experts.size(); ++s)
    slots_of[experts[s]].push_back(static_cast<int>(s));
  std::vector<std::uint32_t> on_slot(experts.size());
  const bool followed = config_.parallel.dp > 1 && per_rank(config_.backend);
  for (const Token& token : tokens) {
    std::set<int> ranks, reached;
    for (const int e : experts_of(token, moe_layer)) {
      out.counts[at(e)] += 1;
      if (token.real) out.real_counts[at(e)] += 1;
      if (parts == 1) continue;
      const std::vector<int>& copies = slots_of[at(e)];
      // Copies take turns, which begin one further at every step and layer.
      const int slot = copies[(token.step + at(moe_layer) + token.index) % copies.size()];
      if (followed) ++on_slot[at(slot)];
      const int rank = place.rank_of(slot);
      ranks.insert(rank);
      reached.insert(nodes[at(rank)]);
    }
    for (const int rank : ranks) traffic.rank_copies[at(rank)] += 1;
    for (const int node : reached) traffic.node_copies[at(node)] += 1;
  }
  if (parts == 1) return;
  if (!followed) deal(slots_of, tokens.front().step + at(moe_layer), out.counts, on_slot);
  for (int rank = 0; rank < parts; ++rank) {
    for (int s = place.first_slot[at(rank)]; s < place.first_slot[at(rank) + 1]; ++s) {
      slot_counts[at(rank)].push_back(on_slot[at(s)]);
      traffic.slots[at(rank)] += slot_counts[at(rank)].back();
    }
  }
}

void PlainExperts::price_experts(const Shard& shard, const LayerSpec& layer, int tokens,
                                 const PlainTraffic& traffic,
                                 const std::vector<std::vector<std::uint32_t>>& slot_counts,
                                 PlainLayer& out) const {
  const auto family = make_family(*config_.model);
  const std::string& backend = config_.backend;
  const bool sent = config_.parallel.dp > 1 && !gathers(backend);
  for (std::size_t rank = 0; rank < slot_counts.size(); ++rank) {
    const auto& counts = slot_counts[rank];
    const auto active = std::ranges::count_if(counts, [](std::uint32_t c) { return c > 0; });
    out.rank_active.push_back(static_cast<double>(active));
    if (active == 0) continue;
    // Who is sent what it needs sees less than all tokens of the group.
    int seen = tokens;
    if (sent && config_.parallel.moe_ep() > 1) {
      seen = per_rank(backend) ? static_cast<int>(traffic.rank_copies[rank])
                               : static_cast<int>(traffic.slots[rank]) / layer.top_k + 1;
    }
    const double time = ns(family->experts(shard, {layer, 1}, seen, counts));
    if (time > out.experts_ns) out.straggler = static_cast<int>(rank);
    out.experts_ns = std::max(out.experts_ns, time);
    out.mean_experts_ns += time / static_cast<double>(slot_counts.size());
  }
}

/// Routes a step's tokens through one layer and prices what follows from it.
void PlainExperts::run_experts(const Shard& shard, const LayerSpec& spec, int moe_layer,
                               const std::vector<Token>& tokens, PlainTraffic traffic,
                               PlainLayer& out) const {
  const Parallel& p = config_.parallel;
  const bool cut = p.moe_ep() == 1;
  const std::size_t parts = traffic.held.size();
  traffic.rank_copies.assign(parts, 0);
  traffic.slots.assign(parts, 0);
  const std::vector<int> nodes =
      p.dp > 1 ? config_.groups.front().nodes() : std::vector<int>(parts, 0);
  traffic.node_copies.assign(at(*std::ranges::max_element(nodes) + 1), 0);
  out.counts.assign(at(spec.num_experts), 0);
  out.real_counts.assign(at(spec.num_experts), 0);
  std::vector<std::vector<std::uint32_t>> slot_counts(cut ? 1 : parts);
  route(tokens, moe_layer, nodes, traffic, out, slot_counts);
  if (cut) slot_counts[0].assign(out.counts.begin(), out.counts.end());
  price_experts(shard, spec, static_cast<int>(tokens.size()), traffic, slot_counts, out);
  out.rank_load = traffic.slots;
  if (cut) {  // every rank computes its part of every pair
    double pairs = 0;
    for (const double count : out.counts) pairs += count;
    traffic.slots.assign(parts, pairs);
  }
  if (p.dp > 1)
    out.messages = plain_messages(config_.backend, config_.groups[at(shard.stage)], traffic);
}

/// Work of one layer but for its experts.
void PlainExperts::price_attention(const Shard& shard, std::span<const StepWork> ranks,
                                   const std::vector<int>& rank_tokens, PlainLayer& out) const {
  const double layers = shard.last_layer - shard.first_layer;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    double own = 0;
    if (config_.spread) {
      own = (token_ns(shard, rank_tokens[r]) + head_ns(shard, ranks[r])) / layers;
    } else {
      own = token_ns(only_layer(shard, out.layer), rank_tokens[r]);
    }
    own += attention_ns(shard, config_.model->layers[at(out.layer)], ranks[r]);
    out.attention_ns = std::max(out.attention_ns, own);
    out.mean_attention_ns += own / static_cast<double>(ranks.size());
  }
}

/// What belongs to no layer: embedding and message to the next stage, and the head; each takes as
/// long as on the slowest rank.
double PlainExperts::outside_ns(const Shard& shard, std::span<const StepWork> ranks,
                                const std::vector<int>& rank_tokens) const {
  double most = 0, head = 0;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    double rest = token_ns(shard, rank_tokens[r]);
    for (int l = shard.first_layer; l < shard.last_layer; ++l)
      rest -= token_ns(only_layer(shard, l), rank_tokens[r]);
    most = std::max(most, rest);
    head = std::max(head, head_ns(shard, ranks[r]));
  }
  return most + head;
}

PlainStep PlainExperts::step(std::span<const StepWork> ranks) const {
  const Parallel& p = config_.parallel;
  PlainStep out;
  const Graph graph = common_graph(config_.engine, ranks);
  out.graph = graph.mode;
  std::vector<int> rank_tokens;
  for (const StepWork& work : ranks) {
    const int own = ranks.size() > 1 ? std::max(1, tokens_in(work)) : tokens_in(work);
    rank_tokens.push_back(graph.mode == GraphMode::kNone ? own : graph.padded);
    out.padded_tokens += rank_tokens.back();
    out.tokens += tokens_in(work);
  }
  const std::vector<Token> tokens = tokens_of(ranks, out.padded_tokens);
  int moe_layer = 0;
  for (int stage = 0; stage < p.pp; ++stage) {
    const Shard shard = make_shard(*config_.model, p, stage).shard;
    double sum = config_.spread ? 0 : outside_ns(shard, ranks, rank_tokens);
    for (int l = shard.first_layer; l < shard.last_layer; ++l) {
      const LayerSpec& spec = config_.model->layers[at(l)];
      PlainLayer layer;
      layer.layer = l;
      layer.moe = spec.moe;
      price_attention(shard, ranks, rank_tokens, layer);
      if (spec.moe)
        run_experts(shard, spec, moe_layer++, tokens, {held(rank_tokens), {}, {}, {}}, layer);
      sum += layer.ns();
      out.layers.push_back(std::move(layer));
    }
    out.launch_ns += std::max(0.0, launch_ns(shard, graph.mode) - sum);
    out.stage_ns.push_back(std::max(sum, launch_ns(shard, graph.mode)));
  }
  return out;
}

}  // namespace moesim::reference
