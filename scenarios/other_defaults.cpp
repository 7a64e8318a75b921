#include "scenarios/other_defaults.h"

#include <algorithm>
#include <cmath>

namespace moesim {
namespace {

double in_mib(Bytes bytes) {
  return static_cast<double>(bytes.value()) / (1 << 20);
}

/// The table of serving-semantics 8.1, [S53/S518 args].
struct CardClass {
  double below_gib;
  int chunk;
  int graphs, graphs_tp4;  ///< largest decode graph with less than four GPUs, and with four or more
};
constexpr CardClass kCards[] = {
    {20, 2048, 8, 80},    {35, 2048, 24, 80},    {60, 4096, 32, 160},
    {90, 8192, 256, 512}, {160, 8192, 256, 512}, {1e9, 16384, 512, 512},
};
/// Until 0.4 there were two classes, told apart at 25,000 MiB: server_args.py of early 2025.
constexpr CardClass kEarlyCards[] = {{25'000.0 / 1024, 2048, 8, 80}, {1e9, 8192, 160, 160}};

bool early(const EngineProfile& profile) {
  return profile.static_fraction == StaticFraction::kByTensorParallel;
}

const CardClass& card_class(const EngineProfile& profile, Bytes card) {
  const double gib = in_mib(card) / 1024;
  const auto fits = [gib](const CardClass& c) { return gib < c.below_gib; };
  if (early(profile)) return *std::ranges::find_if(kEarlyCards, fits);
  return *std::ranges::find_if(kCards, fits);
}

void add_range(std::vector<int>& sizes, int from, int to, int step) {
  for (int size = from; size <= to; size += step) sizes.push_back(size);
}

/// Up to `largest`; the last size is `largest` itself if the list goes beyond it.
void cut(std::vector<int>& sizes, int largest) {
  if (sizes.empty() || sizes.back() <= largest) return;
  std::erase_if(sizes, [largest](int size) { return size > largest; });
  if (sizes.empty() || sizes.back() < largest) sizes.push_back(largest);
}

}  // namespace

int sglang_chunk(const EngineProfile& profile, Bytes card) {
  return card_class(profile, card).chunk;
}

int sglang_largest_graph(const EngineProfile& profile, Bytes card, int tp) {
  const CardClass& found = card_class(profile, card);
  if (tp >= 4) return found.graphs_tp4;
  const bool small = !early(profile) && found.below_gib == 35;
  return small ? profile.small_card_graphs : found.graphs;
}

std::vector<int> sglang_graph_sizes(const EngineProfile& profile, int largest, int max_running) {
  std::vector<int> sizes;
  if (early(profile)) {
    sizes = {1, 2, 4};
    add_range(sizes, 8, 160, 8);
  } else {
    sizes = {1, 2, 4, 8, 12};
    add_range(sizes, 16, 256, 8);
    add_range(sizes, 272, 496, 16);
    add_range(sizes, 512, largest, 32);
  }
  std::erase_if(sizes, [largest](int size) { return size > largest; });
  cut(sizes, max_running);
  return sizes;
}

std::vector<int> sglang_prompt_sizes(int chunk, bool mla) {
  constexpr int kMostLatent = 2048;
  const int largest = mla ? std::min(kMostLatent, chunk) : chunk;
  std::vector<int> sizes;
  add_range(sizes, 4, 32, 4);
  add_range(sizes, 48, 256, 16);
  add_range(sizes, 288, 512, 32);
  add_range(sizes, 576, 1024, 64);
  add_range(sizes, 1280, 4096, 256);
  add_range(sizes, 4608, largest, 512);
  std::erase_if(sizes, [largest](int size) { return size > largest; });
  return sizes;
}

double sglang_static_fraction(const EngineProfile& profile, const StaticFractionInputs& in) {
  if (profile.static_fraction == StaticFraction::kByTensorParallel) {
    struct Step {
      int tp;
      double fraction;
    };
    for (const Step& step : {Step{16, 0.79}, Step{8, 0.81}, Step{4, 0.85}, Step{2, 0.87}}) {
      if (in.tp >= step.tp) return step.fraction;
    }
    return 0.88;
  }
  // MiB: constants of the attention back end, activations of a prompt batch, graphs, ranks.
  double reserved =
      512 + 1.5 * std::max(in.chunk, 2048) + 2.0 * in.largest_graph + 1024.0 * in.tp * in.pp / 8;
  // Every data-parallel rank's gathered batch, in the graphs.
  if (in.dp > 1) {
    constexpr int kLargeGraph = 300;
    reserved += (in.largest_graph > kLargeGraph ? 4.5 : 3.0) * in.largest_graph * in.dp;
  }
  if (profile.prompt_graphs == PromptGraphs::kOwn) {
    reserved += in.mla ? 1536 : 8.0 * in.prompt_graphs;
  }
  const double card = in_mib(in.card);
  if (card > 60 * 1024) reserved = std::max(reserved, 10.0 * 1024);
  return std::round((card - reserved) / card * 1000) / 1000;
}

int sglang_max_running(std::int64_t kv_tokens, int max_model_len) {
  const double by_length = static_cast<double>(kv_tokens) / std::max(1, max_model_len) * 512;
  const auto pool = static_cast<std::int64_t>(std::clamp(by_length, 2048.0, 4096.0));
  return static_cast<int>(std::max<std::int64_t>(1, std::min(kv_tokens / 2, pool)));
}

std::vector<int> trtllm_graph_sizes(int largest, bool padded) {
  // CudaGraphConfig of llm_args.py, 1.0 and later.
  std::vector<int> sizes;
  if (padded) {
    sizes = {1, 2, 4};
    add_range(sizes, 8, 128, 8);
  } else {
    add_range(sizes, 1, 32, 1);
    add_range(sizes, 64, 128, 64);
  }
  for (int size = 256; size < largest; size *= 2) sizes.push_back(size);
  std::erase_if(sizes, [largest](int size) { return size > largest; });
  if (sizes.back() < largest) sizes.push_back(largest);
  return sizes;
}

}  // namespace moesim
