#include <cstdlib>
#include <doctest/doctest.h>
#include <new>

#include "sim/base/random.h"
#include "sim/engine/instance.h"
#include "tests/reference/engine_run.h"
#include "tests/reference/step_table.h"
#include "tests/sim/steptime/moe_support.h"

// Counts every allocation of this program. Replaced for all of it, used by this file.
namespace {
std::size_t allocations = 0;

void* counted(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
}  // namespace

void* operator new(std::size_t size) {
  return counted(size);
}
void* operator new[](std::size_t size) {
  return counted(size);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return counted(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return counted(size);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}

using namespace moesim;
using namespace moesim::reference;

namespace {

struct Load {
  std::string why;
  bool windows = false, chains = false, async = true;
  std::int64_t blocks = 100'000;
  int stages = 1;
};

constexpr int kRounds = 8;
constexpr int kPerRound = 800;

/// The same Poisson arrivals over and over, so that the last round needs no more room than
/// those before.
Workload steady_load(bool chains) {
  Workload workload;
  double round_begin = 0;
  if (chains) workload.chain_begin.push_back(0);
  for (int round = 0; round < kRounds; ++round) {
    Rng rng(1, "steady");
    double time = round_begin;
    for (int r = 0; r < kPerRound; ++r) {
      time += 4'000'000 * rng.exponential();
      workload.arrival_ns.push_back(static_cast<SimTime>(time));
      workload.prompt_tokens.push_back(64 + rng.below(256));
      workload.output_tokens.push_back(32 + rng.below(128));
      if (!chains) continue;
      workload.chain.push_back({rng.below(20), 48});
      workload.chain.push_back({20 + rng.below(200), workload.prompt_tokens.back()});
      workload.chain_begin.push_back(static_cast<std::uint32_t>(workload.chain.size()));
    }
    round_begin = time + 1e9;  // drained by then
  }
  workload.chain_ids = chains ? 220 : 0;
  return workload;
}

/// Allocations of the last round, and its steps.
struct Counted {
  std::size_t allocations;
  std::uint64_t steps;
};

Counted last_round(const Load& load) {
  PlainConfig config;
  config.limits = {.max_num_seqs = 256,
                   .max_num_batched_tokens = 2048,
                   .max_model_len = 4096,
                   .async = load.async,
                   .pipeline_stages = load.stages};
  config.queue_depth = load.stages > 1 ? load.stages : load.async ? 2 : 1;
  config.usable_blocks = load.blocks;
  config.groups = {{AttentionKind::kFull, 0, 1}};
  if (load.windows) config.groups.push_back({AttentionKind::kSliding, 64, 1});
  const Workload workload = steady_load(load.chains);
  RequestTable table = make_table(workload, config.limits);
  FormulaPricer pricer({.step_ns = 1'000'000,
                        .decode_ns = 20'000,
                        .context_ns = 1,
                        .prompt_ns = 1000,
                        .attention_ns = 0,
                        .row_ns = 0,
                        .stage_ns = 0},
                       load.stages);
  Instance instance(instance_config(config), workload, table, make_scheduler("vllm_v1"), pricer);
  std::size_t before = 0;
  std::uint64_t steps = 0;
  const SimTime last_begins = workload.arrival_ns[(kRounds - 1) * kPerRound];
  bool warm = false;
  run_to_end(instance, workload, nullptr, [&](SimTime now) {
    if (warm || now < last_begins) return;
    warm = true;
    before = allocations;
    steps = instance.totals().steps;
  });
  const std::size_t after = allocations;
  return {after - before, instance.totals().steps - steps};
}

}  // namespace

TEST_CASE("a warm engine allocates nothing, arrivals and completions included") {
  const std::vector<Load> loads = {
      {.why = "plain"},
      {.why = "synchronous", .async = false},
      {.why = "sliding window beside full attention", .windows = true},
      {.why = "shared prefixes", .chains = true},
      {.why = "shared prefixes under eviction", .chains = true, .blocks = 2000},
      {.why = "pipeline of two", .stages = 2},
  };
  for (const Load& load : loads) {
    INFO(load.why);
    const Counted counted = last_round(load);
    CHECK(counted.steps > 500);
    CHECK(counted.allocations == 0);
  }
}

TEST_CASE("routing the tokens of a step to their experts allocates nothing") {
  struct Case {
    const char* why;
    RoutingFidelity fidelity;
    bool dbo;
  };
  for (const Case& c : {Case{"one by one", RoutingFidelity::kExact, false},
                        Case{"in half batches", RoutingFidelity::kExact, true},
                        Case{"by their ranks", RoutingFidelity::kRankExact, false},
                        Case{"by draws made before", RoutingFidelity::kSampled, false}}) {
    CAPTURE(std::string(c.why));
    Lockstep two({.us = [](const Op&) { return 1.0; }, .fidelity = c.fidelity, .dbo = c.dbo});
    const std::vector<PromptChunk> chunk = {{9, 12, 0, true}};
    std::vector<RoutedToken> tokens[2] = {{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}}, {{5, 1}}};
    std::vector<StepWork> ranks(2);
    StepCost cost;
    const auto run = [&](std::uint64_t first) {
      for (std::uint64_t step = first; step < first + 50; ++step) {
        for (std::size_t r = 0; r < 2; ++r) {
          for (RoutedToken& token : tokens[r]) token.index = static_cast<std::uint32_t>(step);
          ranks[r] = {.step = step,
                      .decodes = static_cast<int>(tokens[r].size()),
                      .decode_context = {100, 20},
                      .chunks = chunk,
                      .sampled_rows = 1,
                      .tokens = tokens[r]};
        }
        two.step_time.price_ranks(ranks, cost);
      }
    };
    // By ranks every load is priced when it is first met: the same steps meet the same ones.
    run(0);
    const std::size_t before = allocations;
    run(0);
    CHECK(allocations == before);
  }
}
