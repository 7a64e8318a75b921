#include "tests/reference/random_scenario.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "sim/base/random.h"

namespace moesim::reference {
namespace {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : rng_(seed, "scenario") {}
  int between(int low, int high) {
    return low + static_cast<int>(rng_.below(static_cast<std::uint32_t>(high - low + 1)));
  }
  bool percent(int p) { return between(1, 100) <= p; }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[between(0, static_cast<int>(values.size()) - 1)];
  }

 private:
  Rng rng_;
};

std::vector<KvGroup> draw_groups(Dice& dice) {
  const KvGroup full{AttentionKind::kFull, 0, 1};
  const auto windowed = [&] {
    const AttentionKind kind = dice.percent(65) ? AttentionKind::kSliding : AttentionKind::kChunked;
    return KvGroup{kind, dice.between(1, dice.one_of({8, 40})), 1};
  };
  if (dice.percent(40)) return {full};
  if (dice.percent(25)) return {windowed()};
  if (dice.percent(60)) return {full, windowed()};
  if (dice.percent(30)) return {full, full};
  if (dice.percent(20))
    return {{AttentionKind::kLinear, 0, 1}, full, {AttentionKind::kLinear, 0, 1}};
  return {windowed(), full, windowed()};
}

std::int64_t blocks_of_longest(const PlainConfig& config) {
  const Limits& limits = config.limits;
  std::int64_t result = 0;
  for (const KvGroup& group : config.groups) {
    int tokens = limits.max_model_len;
    if (group.kind == AttentionKind::kLinear) tokens = 1;
    if (group.kind == AttentionKind::kSliding || group.kind == AttentionKind::kChunked) {
      tokens = std::min(tokens, group.window + limits.max_num_batched_tokens) + config.block_size;
    }
    result += (tokens + config.block_size - 1) / config.block_size;
  }
  return result;
}

PlainConfig draw_config(Dice& dice) {
  PlainConfig config;
  config.max_calls = 1500;
  config.block_size = dice.one_of({1, 2, 3, 4, 4, 5, 8, 16});
  config.groups = draw_groups(dice);
  config.prefix_caching = dice.percent(70);
  Limits& limits = config.limits;
  limits.max_model_len = dice.between(3, dice.one_of({12, 40, 120}));
  limits.max_num_batched_tokens = dice.between(1, dice.one_of({4, 16, 64, 64}));
  limits.max_num_seqs = dice.between(1, dice.one_of({2, 5, 12, 20}));
  limits.chunked_prefill = dice.percent(85);
  if (!limits.chunked_prefill && dice.percent(90)) {
    limits.max_num_batched_tokens = std::max(limits.max_num_batched_tokens, limits.max_model_len);
  }
  if (dice.percent(30)) limits.long_prefill_token_threshold = dice.between(1, 12);
  limits.reserve_full_isl = dice.percent(50);
  limits.priority = dice.percent(40);
  limits.async = dice.percent(50);
  limits.finish_eos = dice.percent(50);
  limits.pipeline_stages = dice.percent(60) ? 1 : dice.between(2, 4);
  config.queue_depth = limits.pipeline_stages > 1 ? limits.pipeline_stages : limits.async ? 2 : 1;
  const std::int64_t longest = blocks_of_longest(config);
  config.usable_blocks = longest + dice.between(0, dice.one_of({0, 2, 8, 100}));
  if (dice.percent(5)) config.usable_blocks = std::max<std::int64_t>(1, longest / 2 + 1);
  HostCost& host = config.host;
  const double scale = dice.one_of({0.0, 0.001, 0.25, 1.0});
  host = {50 * scale, 1.5 * scale, 20 * scale, scale, 250 * scale, scale, 100 * scale, 3 * scale};
  return config;
}

/// A tree of shared token stretches: prompts walk down it, then go on alone.
class Chains {
 public:
  Chains(Dice& dice, Workload& workload) : dice_(dice), workload_(workload) {
    workload_.output_continues_chain = dice.percent(35);
    workload_.chain_begin.push_back(0);
  }
  /// The chain of a prompt of `tokens` tokens.
  void append(std::uint32_t tokens) {
    std::uint32_t end = 0;
    std::size_t node = kRoot;
    while (end < tokens && dice_.percent(70)) {
      node = child(node);
      end += nodes_[node].length;
      workload_.chain.push_back({static_cast<std::uint32_t>(node - 1), std::min(end, tokens)});
    }
    if (workload_.output_continues_chain && node != kRoot && end < tokens && dice_.percent(60)) {
      // A session's element: as long as the prompt, whatever that is.
      const std::size_t session = child(node);
      workload_.chain.push_back({static_cast<std::uint32_t>(session - 1), tokens});
      nodes_[session].length = 1000;
    }
    workload_.chain_begin.push_back(static_cast<std::uint32_t>(workload_.chain.size()));
    workload_.chain_ids = static_cast<std::uint32_t>(nodes_.size() - 1);
  }

 private:
  static constexpr std::size_t kRoot = 0;
  struct Node {
    std::size_t parent = 0;
    std::uint32_t length = 0;
  };
  /// A child of a node: usually one that exists.
  std::size_t child(std::size_t parent) {
    for (std::size_t n = 1; n < nodes_.size(); ++n) {
      if (nodes_[n].parent == parent && dice_.percent(65)) return n;
    }
    nodes_.push_back({parent, static_cast<std::uint32_t>(dice_.between(1, 20))});
    return nodes_.size() - 1;
  }
  Dice& dice_;
  Workload& workload_;
  std::vector<Node> nodes_ = std::vector<Node>(1, Node{static_cast<std::size_t>(-1), 0});
};

Workload draw_workload(Dice& dice, const Limits& limits) {
  Workload workload;
  const int count = dice.between(1, dice.one_of({4, 12, 30}));
  const bool chains = dice.percent(75);
  const bool ordered = limits.priority && dice.percent(85);
  const int spread_ns = dice.one_of({0, 500, 20'000, 300'000});
  const int longest_output = dice.one_of({1, 4, 40, 60});
  Chains tree(dice, workload);
  std::int64_t time = 0;
  for (int i = 0; i < count; ++i) {
    if (spread_ns > 0 && !dice.percent(30)) time += dice.between(0, spread_ns);
    workload.arrival_ns.push_back(time);
    const int longest = std::min(limits.max_model_len - 1, dice.one_of({4, 30, 200}));
    workload.prompt_tokens.push_back(static_cast<std::uint32_t>(dice.between(1, longest)));
    workload.output_tokens.push_back(static_cast<std::uint32_t>(dice.between(1, longest_output)));
    if (chains) tree.append(workload.prompt_tokens.back());
    if (ordered) workload.priority.push_back(dice.between(-1, 2));
  }
  if (!chains) {
    workload.chain_begin.clear();
    workload.output_continues_chain = false;
  }
  return workload;
}

}  // namespace

RandomScenario random_scenario(std::uint64_t seed) {
  Dice dice(seed);
  RandomScenario scenario;
  scenario.config = draw_config(dice);
  scenario.workload = draw_workload(dice, scenario.config.limits);
  const double scale = dice.one_of({1.0, 30.0, 1000.0});
  scenario.price = {.step_ns = 500 * scale,
                    .decode_ns = 7 * scale,
                    .context_ns = 1,
                    .prompt_ns = 11 * scale,
                    .attention_ns = 1,
                    .row_ns = 3,
                    .stage_ns = 100};
  return scenario;
}

std::string describe(const RandomScenario& scenario) {
  const PlainConfig& c = scenario.config;
  const Limits& l = c.limits;
  std::ostringstream out;
  out << "block size " << c.block_size << ", blocks " << c.usable_blocks << ", groups";
  for (const KvGroup& g : c.groups) {
    constexpr const char* kNames[] = {" full", " sliding", " chunked", " linear"};
    out << kNames[static_cast<int>(g.kind)];
    if (g.window > 0) out << g.window;
  }
  out << ", caching " << c.prefix_caching << ", budget " << l.max_num_batched_tokens << ", seqs "
      << l.max_num_seqs << ", model len " << l.max_model_len << ", threshold "
      << l.long_prefill_token_threshold << ", chunked " << l.chunked_prefill << ", full isl "
      << l.reserve_full_isl << ", priority " << l.priority << ", async " << l.async << ", eos "
      << l.finish_eos << ", pp " << l.pipeline_stages << ", depth " << c.queue_depth << "\n";
  const Workload& w = scenario.workload;
  for (std::size_t r = 0; r < w.size(); ++r) {
    out << "  r" << r << " at " << w.arrival_ns[r] << ": " << w.prompt_tokens[r] << " -> "
        << w.output_tokens[r];
    if (!w.priority.empty()) out << " priority " << w.priority[r];
    if (!w.chain_begin.empty()) {
      for (std::uint32_t e = w.chain_begin[r]; e < w.chain_begin[r + 1]; ++e) {
        out << " #" << w.chain[e].id << "<" << w.chain[e].end;
      }
    }
    out << "\n";
  }
  if (w.output_continues_chain) out << "  output continues the chain\n";
  return out.str();
}

}  // namespace moesim::reference
