// Steps of data-parallel ranks: they meet at every layer.

#include <algorithm>
#include <doctest/doctest.h>
#include <numeric>
#include <vector>

#include "sim/steptime/step_time.h"
#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

/// A microsecond for every context token attention reads.
double context_us(const Op& op) {
  return op.term == Term::kAttention ? static_cast<double>(op.n) : 0.0;
}

/// A microsecond for every row of an expert, a hundredth of one for everything else.
double mixed_us(const Op& op) {
  return op.term == Term::kExpertGemm ? static_cast<double>(op.m) : 0.01;
}

StepWork reads(std::int64_t full, std::int64_t window) {
  StepWork one = work(1, kNone, 1);
  one.decode_context = {full, window};
  return one;
}

double term(const StepCost& cost, Term term) {
  return cost.terms[static_cast<std::size_t>(term)];
}

template <class Values>
double total(const Values& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

void check_sums(const StepCost& cost) {
  CHECK(total(cost.terms) == doctest::Approx(total(cost.stage_ns)).epsilon(1e-9));
  CHECK(total(cost.provenance_ns) == doctest::Approx(total(cost.stage_ns)).epsilon(1e-9));
}

}  // namespace

TEST_CASE("each layer takes the slowest rank's attention, not the step the slowest rank") {
  Lockstep two({.us = context_us});
  // The dense layer waits for the first rank, both windowed ones for the second: 8 + 4 + 4. Alone
  // each rank would take 10.
  const StepCost cost = two({reads(8, 1), reads(2, 4)});
  constexpr double kMessages = 2 * (1000 + 2000);
  CHECK(term(cost, Term::kAttention) == doctest::Approx(10'000));
  CHECK(term(cost, Term::kExposedWait) == doctest::Approx(6'000));
  CHECK(cost.stage_ns[0] == doctest::Approx(16'000 + kMessages));
  CHECK(term(cost, Term::kDispatch) == doctest::Approx(2'000));
  CHECK(term(cost, Term::kCombine) == doctest::Approx(4'000));
  check_sums(cost);
}

TEST_CASE("ranks that do the same wait for nobody") {
  Lockstep two({.us = context_us});
  const StepCost cost = two({reads(5, 5), reads(5, 5)});
  CHECK(term(cost, Term::kExposedWait) == doctest::Approx(0));
  check_sums(cost);
}

TEST_CASE("a rank without work runs one token, reads no keys, and costs what the others do") {
  Lockstep two({.us = context_us, .enforce_eager = true});
  StepWork idle;
  const StepCost cost = two({reads(6, 6), idle});
  CHECK(cost.padded_tokens == 2);
  CHECK(term(cost, Term::kAttention) == doctest::Approx(9'000));  // 18 on one of two ranks
  CHECK(term(cost, Term::kExposedWait) == doctest::Approx(9'000));
  check_sums(cost);
}

TEST_CASE("the graph mode is the least of the ranks', and graphs pad all to the largest") {
  struct Case {
    const char* why;
    std::vector<StepWork> ranks;
    GraphMode graph;
    int padded;
  };
  const std::vector<PromptChunk> five = {{0, 5, 0, true}}, long_one = {{0, 40, 0, true}};
  const Case cases[] = {
      {"decodes alike", {work(3, kNone, 3), work(3, kNone, 3)}, GraphMode::kFull, 2 * 4},
      {"the largest rank", {work(9, kNone, 9), work(1, kNone, 1)}, GraphMode::kFull, 2 * 16},
      {"a prompt breaks everybody's graph",
       {work(2, kNone, 2), work(0, five, 1)},
       GraphMode::kPiecewise,
       2 * 8},
      {"a long prompt takes it away, and then nobody is padded",
       {work(2, kNone, 2), work(0, long_one, 1)},
       GraphMode::kNone,
       2 + 40},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    Lockstep two({});
    const StepCost cost = two(c.ranks);
    CHECK(cost.graph == c.graph);
    CHECK(cost.padded_tokens == c.padded);
  }
}

TEST_CASE("graphs of prompts' own are a single rank's: several with a prompt stay ragged") {
  const std::vector<PromptChunk> five = {{0, 5, 0, true}};
  const auto priced = [](int dp, const std::vector<StepWork>& ranks) {
    Lockstep lockstep({.dp = dp, .prompt_graphs = PromptGraphs::kOwn});
    return lockstep(ranks);
  };
  const StepCost mixed = priced(2, {work(3, kNone, 3), work(0, five, 1)});
  CHECK(mixed.graph == GraphMode::kNone);
  CHECK(mixed.padded_tokens == 3 + 5);
  const StepCost idle = priced(2, {work(0, kNone, 0), work(0, five, 1)});
  CHECK(idle.padded_tokens == 1 + 5);
  const StepCost decodes = priced(2, {work(3, kNone, 3), work(1, kNone, 1)});
  CHECK(decodes.graph == GraphMode::kFull);
  CHECK(decodes.padded_tokens == 2 * 4);
  const StepCost alone = priced(1, {work(0, five, 1)});
  CHECK(alone.graph == GraphMode::kPiecewise);
  CHECK(alone.padded_tokens == 8);
}

TEST_CASE("without padding ranks have a graph only if their batches are the same and captured") {
  struct Case {
    const char* why;
    std::vector<StepWork> ranks;
    GraphMode graph;
    int padded;
  };
  const Case cases[] = {
      {"alike", {work(4, kNone, 4), work(4, kNone, 4)}, GraphMode::kFull, 2 * 4},
      {"both captured, not alike", {work(4, kNone, 4), work(2, kNone, 2)}, GraphMode::kNone, 6},
      {"only the larger captured", {work(3, kNone, 3), work(4, kNone, 4)}, GraphMode::kNone, 7},
      {"an idle rank's token is not alike", {work(4, kNone, 4), {}}, GraphMode::kNone, 5},
      {"alike, not captured", {work(3, kNone, 3), work(3, kNone, 3)}, GraphMode::kNone, 6},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    Lockstep two({.pad_to_graph = false});
    const StepCost cost = two(c.ranks);
    CHECK(cost.graph == c.graph);
    CHECK(cost.padded_tokens == c.padded);
  }
}

TEST_CASE("one rank in lockstep is one rank, to the bit") {
  Lockstep a({.us = mixed_us, .dp = 1}), b({.us = mixed_us, .dp = 1});
  for (std::uint64_t step = 0; step < 20; ++step) {
    StepWork one = reads(7, 3);
    one.step = step;
    StepCost by_ranks, alone;
    a.step_time.price_ranks({&one, 1}, by_ranks);
    b.step_time.price(one, alone);
    CHECK(by_ranks.stage_ns == alone.stage_ns);
    CHECK(by_ranks.terms == alone.terms);
  }
}

TEST_CASE("terms and sources of time add up to the step, whatever the ranks do") {
  const std::vector<PromptChunk> chunks = {{0, 5, 0, true}, {1, 30, 16, false}};
  for (const bool dbo : {false, true}) {
    for (const int stages : {1, 2}) {
      for (const int dp : {2, 4}) {
        Lockstep group({.us = mixed_us, .dp = dp, .stages = stages, .dbo = dbo});
        for (std::uint64_t step = 0; step < 8; ++step) {
          std::vector<StepWork> ranks;
          for (int r = 0; r < dp; ++r) {
            const bool prompts = (static_cast<int>(step) + r) % 3 == 0;
            ranks.push_back(work(2 + 5 * r, prompts ? chunks : kNone, 3));
            ranks.back().step = step;
            ranks.back().decode_context = {20 * r, 10};
          }
          const StepCost cost = group(ranks);
          CAPTURE(dbo);
          CAPTURE(dp);
          CAPTURE(step);
          CHECK(static_cast<int>(cost.stage_ns.size()) == stages);
          CHECK(*std::ranges::min_element(cost.stage_ns) > 0);
          check_sums(cost);
        }
      }
    }
  }
}

TEST_CASE("half batches run when every rank has enough tokens for its kind of step") {
  // Rows of experts take time, so a step in halves shows a negative overlap term.
  struct Case {
    const char* why;
    std::vector<StepWork> ranks;
    bool split;
  };
  const std::vector<PromptChunk> six = {{0, 6, 0, true}}, eight = {{0, 8, 0, true}};
  const Case cases[] = {
      {"decodes enough", {work(4, kNone, 4), work(5, kNone, 5)}, true},
      {"one rank has too few", {work(3, kNone, 3), work(9, kNone, 9)}, false},
      {"an idle one has none", {work(9, kNone, 9), work(0, kNone, 0)}, false},
      {"prompts need more", {work(4, kNone, 4), work(0, six, 1)}, false},
      {"each rank by its own rule", {work(4, kNone, 4), work(0, eight, 1)}, true},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    Lockstep two({.us = mixed_us, .dbo = true});
    const StepCost cost = two(c.ranks);
    CHECK((term(cost, Term::kOverlapped) < 0) == c.split);
  }
}

TEST_CASE("half batches go in the engine's order, which is another one for SGLang's decodes") {
  // 5 us for experts of a layer, nothing for the rest: messages of 1 and 2 us hide under experts or
  // not at all. Two layers have experts.
  const auto experts_us = [](const Op& op) { return op.term == Term::kExpertGemm ? 5.0 : 0.0; };
  const std::vector<PromptChunk> prompt = {{0, 8, 0, true}};
  const std::vector<StepWork> decodes(2, work(8, kNone, 8)), prompts(2, work(0, prompt, 1));
  struct Case {
    const char* why;
    bool by_stages;
    std::vector<StepWork> ranks;
    double us;
  };
  const Case cases[] = {
      {"slots: max(0, 1) + 5 + 5 + max(0, 2)", false, decodes, 2 * 13},
      {"slots, prompts", false, prompts, 2 * 13},
      {"stages: 2 (1 + 2 + 5)", true, decodes, 2 * 16},
      {"stages, prompts: max(0, 1) + 5 + 5 + max(0, 2)", true, prompts, 2 * 13},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    Lockstep two({.us = experts_us, .by_stages = c.by_stages, .dbo = true});
    const StepCost cost = two(c.ranks);
    CHECK(cost.stage_ns[0] == doctest::Approx(1e3 * c.us));
    check_sums(cost);
  }
}

TEST_CASE("half batches route every token once") {
  Lockstep two(
      {.us = mixed_us, .fidelity = RoutingFidelity::kExact, .dbo = true, .capture_sizes = {4}});
  std::vector<RoutedToken> tokens[2];
  for (std::uint32_t i = 0; i < 8; ++i) {
    tokens[0].push_back({i, 3});
    tokens[1].push_back({100 + i, 5});
  }
  std::vector<StepWork> ranks = {work(8, kNone, 8), work(8, kNone, 8)};
  for (std::size_t r = 0; r < 2; ++r) ranks[r].tokens = tokens[r];
  (void)two(ranks);
  const MoeStats halves = two.step_time.moe_stats();
  Lockstep whole({.us = mixed_us, .fidelity = RoutingFidelity::kExact});
  (void)whole(ranks);
  CHECK(halves.expert_load == whole.step_time.moe_stats().expert_load);
  CHECK(halves.layers[0].tokens == 16);
  CHECK(halves.layers[0].steps == 2);
}

TEST_CASE("full experts drop the same tokens whether a step is padded or not") {
  const auto run = [](bool eager, double factor) {
    Lockstep two({.us = mixed_us,
                  .fidelity = RoutingFidelity::kExact,
                  .enforce_eager = eager,
                  .capacity = CapacityRule{factor, false, Overflow::kDrop, CapacityScope::kRank}});
    std::vector<RoutedToken> tokens[2];
    for (std::uint32_t i = 0; i < 9; ++i) tokens[i % 2].push_back({i, i});
    std::vector<StepWork> ranks = {work(5, kNone, 5), work(4, kNone, 4)};
    for (std::size_t r = 0; r < 2; ++r) ranks[r].tokens = tokens[r];
    (void)two(ranks);
    return two.step_time.moe_stats();
  };
  double before = 1e9;
  for (const double factor : {1.0, 1.25, 2.0, 4.0}) {
    const MoeStats padded = run(false, factor), ragged = run(true, factor);
    double dropped = 0;
    for (std::size_t l = 0; l < padded.layers.size(); ++l) {
      const MoeLayerStats& layer = padded.layers[l];
      CHECK(layer.tokens == 9);
      CHECK(layer.dropped == ragged.layers[l].dropped);
      double kept = 0;
      for (std::size_t e = 0; e < 4; ++e) kept += padded.expert_load[l * 4 + e];
      CHECK(kept + layer.dropped == layer.assignments);
      dropped += layer.dropped;
    }
    CHECK(dropped <= before);
    before = dropped;
  }
  CHECK(before == 0);  // four times the fair share is all tokens
}

TEST_CASE("weights that move stop serving once, behind the step, also beside half batches") {
  for (const bool dbo : {false, true}) {
    CAPTURE(dbo);
    EplbControl::Config config;
    config.spec.name = "eplb";
    config.spec.step_interval = config.spec.window_size = 2;
    config.shape = {.layers = 2, .experts = 4, .ranks = 2, .nodes = 1, .groups = 0, .redundant = 0};
    config.expert_bytes = 1;
    config.stage_of_layer = {0, 0};
    config.transfer_ns = [](int, const std::vector<ExpertMove>&, double) { return 1e6; };
    Lockstep two(
        {.us = mixed_us,
         .dbo = dbo,
         .eplb = std::make_unique<EplbControl>(std::move(config), placed(2, 4, {{0, 1}, {2, 3}}))});
    std::vector<StepWork> ranks = {work(8, kNone, 8), work(8, kNone, 8)};
    CHECK(term(two(ranks), Term::kExpertCopy) == 0);
    for (StepWork& rank : ranks) rank.step = 1;
    const StepCost cost = two(ranks);
    const MoeStats stats = two.step_time.moe_stats();
    REQUIRE(stats.rebalances.size() == 1);
    CHECK(term(cost, Term::kExpertCopy) == doctest::Approx(stats.rebalances[0].copy_ns));
    check_sums(cost);
  }
}

TEST_CASE("weights that move beside serving are in place from the first step behind the copies") {
  EplbControl::Config config;
  config.spec.name = "eplb";
  config.spec.step_interval = config.spec.window_size = 2;
  config.spec.use_async = true;
  config.shape = {.layers = 2, .experts = 4, .ranks = 2, .nodes = 1, .groups = 0, .redundant = 0};
  config.expert_bytes = 1;
  config.stage_of_layer = {0, 0};
  config.transfer_ns = [](int, const std::vector<ExpertMove>&, double) { return 1e6; };
  const ExpertPlacement first = placed(2, 4, {{0, 1}, {2, 3}});
  Lockstep two({.us = mixed_us, .eplb = std::make_unique<EplbControl>(std::move(config), first)});
  std::vector<StepWork> ranks = {work(8, kNone, 8), work(8, kNone, 8)};
  std::int64_t ends = 0;
  const auto step = [&](std::uint64_t number, std::int64_t now_ns) {
    for (StepWork& rank : ranks) {
      rank.step = number;
      rank.now_ns = now_ns;
    }
    const StepCost cost = two(ranks);
    CHECK(term(cost, Term::kExpertCopy) == 0);
    ends = now_ns + static_cast<std::int64_t>(cost.stage_ns[0]);
    return two.step_time.placement().value() == first;
  };
  CHECK(step(0, 0));
  CHECK(step(1, ends));
  REQUIRE(two.step_time.moe_stats().rebalances.size() == 1);
  REQUIRE(two.step_time.moe_stats().rebalances[0].moved_bytes > 0);
  const auto done =
      ends + static_cast<std::int64_t>(two.step_time.moe_stats().rebalances[0].copy_ns);
  CHECK(step(2, done - 1));
  CHECK(step(3, done - 1));  // the next plan is due, and waits
  CHECK(two.step_time.moe_stats().rebalances.size() == 1);
  CHECK_FALSE(step(4, done + 1));
  CHECK(two.step_time.moe_stats().rebalances.size() == 2);
}
