// CUDA graphs and launches: which mode a step runs in, and when launching is what takes the time.
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "models/hf_config.h"
#include "sim/steptime/host_calls.h"
#include "tests/sim/steptime/priced_steps.h"

using namespace moesim;

TEST_CASE("a step is replayed, launched in pieces, or launched kernel by kernel") {
  struct Case {
    std::string why;
    Setup setup;
    int tokens;
    bool uniform;
    GraphMode mode;
    int padded;
  };
  const Case cases[] = {
      {"decodes alone, a captured size", {}, 4, true, GraphMode::kFull, 4},
      {"padded to the next size", {}, 5, true, GraphMode::kFull, 8},
      {"one request", {}, 1, true, GraphMode::kFull, 1},
      {"with a prompt there is no full graph", {}, 4, false, GraphMode::kPiecewise, 4},
      {"full graphs end at max_num_seqs: 9 would run as 16",
       {},
       9,
       true,
       GraphMode::kPiecewise,
       16},
      {"the largest captured size", {}, 16, false, GraphMode::kPiecewise, 16},
      {"beyond it neither graph nor padding", {}, 17, false, GraphMode::kNone, 17},
      {"a release without full graphs", {.full_graphs = false}, 4, true, GraphMode::kPiecewise, 4},
      {"enforce_eager", {.enforce_eager = true}, 4, true, GraphMode::kNone, 4},
      {"prompts without graphs",
       {.prompt_graphs = PromptGraphs::kNone},
       4,
       false,
       GraphMode::kNone,
       4},
      {"their decodes have them",
       {.prompt_graphs = PromptGraphs::kNone},
       5,
       true,
       GraphMode::kFull,
       8},
      {"prompts in full graphs, beyond max_num_seqs too",
       {.prompt_graphs = PromptGraphs::kFull},
       9,
       false,
       GraphMode::kFull,
       16},
      {"prompts with sizes of their own",
       {.prompt_graphs = PromptGraphs::kOwn, .prompt_sizes = {4, 32}},
       17,
       false,
       GraphMode::kPiecewise,
       32},
      {"which decodes do not use",
       {.prompt_graphs = PromptGraphs::kOwn, .prompt_sizes = {4, 32}},
       17,
       true,
       GraphMode::kNone,
       17},
      {"without padding only an exact size has a graph",
       {.pad_to_graph = false},
       5,
       true,
       GraphMode::kNone,
       5},
      {"and that one has it", {.pad_to_graph = false}, 4, true, GraphMode::kFull, 4},
      {"nothing captured", {.capture_sizes = {}}, 4, true, GraphMode::kNone, 4},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const Priced priced(c.setup);
    const StepTime::Dispatch dispatch = priced.step_time.dispatch(c.tokens, c.uniform);
    CHECK(dispatch.mode == c.mode);
    CHECK(dispatch.padded == c.padded);
  }
}

TEST_CASE("without graphs and compiler, Python calls every operator of every layer") {
  const ModelSpec model = three_layers();
  const Shard shard = make_shard(model, Parallel{}, 0).shard;
  const std::vector<LayerClass> classes = layer_classes(shard);
  const auto family = make_family(model);
  const double calls = host_calls(*family, shard, classes);
  Priced eager({.launch = {0, 0, 0, 0, 10}, .enforce_eager = true});
  CHECK(eager.us(work(3, kNone, 3)) == doctest::Approx(10 * calls));
  Priced replayed({.launch = {0, 0, 0, 0, 10}});
  CHECK(replayed.us(work(3, kNone, 3)) == 0);
}

TEST_CASE("quantised products are two calls, chunked linear attention eight") {
  ModelSpec model = three_layers();
  const auto calls = [](const ModelSpec& of) {
    const Shard shard = make_shard(of, Parallel{}, 0).shard;
    return host_calls(*make_family(of), shard, layer_classes(shard));
  };
  const double plain = calls(model);
  model.precisions.experts = NumberFormat::kFp8Block;
  CHECK(calls(model) == plain + 2);  // two layers of experts
  model.precisions.experts = NumberFormat::kGptqInt4;
  CHECK(calls(model) == plain);  // multiplied in 16 bit
  // Attention, experts and what token_ops lists, each once.
  std::vector<Op> ops;
  const Shard shard = make_shard(model, Parallel{}, 0).shard;
  make_family(model)->token_ops(shard, 1, ops);
  double listed = 0;
  for (const Op& op : ops) listed += op.repeat;
  CHECK(plain == listed + 3 + 2);
}

TEST_CASE("composite calls cover attention and routed experts, sums over ranks their norms") {
  const ModelSpec model = three_layers();
  const auto calls = [](const ModelSpec& of, HostCallRules rules) {
    const Shard shard = make_shard(of, Parallel{}, 0).shard;
    return host_calls(*make_family(of), shard, layer_classes(shard), rules);
  };
  const auto listed = [&](auto counts) {
    const Shard shard = make_shard(model, Parallel{}, 0).shard;
    std::vector<Op> ops;
    make_family(model)->token_ops(shard, 1, ops);
    double sum = 0;
    for (const Op& op : ops) sum += counts(op) ? op.repeat : 0;
    return sum;
  };
  const double plain = calls(model, {});
  const double inside = listed([](const Op& op) {
    return op.part == MemoryPart::kRotary || op.part == MemoryPart::kKvWrite ||
           op.part == MemoryPart::kRouting || op.part == MemoryPart::kAlign ||
           op.part == MemoryPart::kExpertSum;
  });
  const double norms = listed([](const Op& op) { return op.part == MemoryPart::kNorm; });
  CHECK(inside > 3);
  CHECK(norms >= 6);
  CHECK(calls(model, {.composite = true}) == plain - inside);
  CHECK(calls(model, {.norms_in_all_reduce = true}) == plain - norms);
  CHECK(calls(model, {.composite = true, .norms_in_all_reduce = true}) == plain - inside - norms);
}

TEST_CASE("sums over ranks quantise what the next product reads, but not in blocks") {
  ModelSpec model = three_layers();  // the attention's output is as wide as the hidden state
  const auto calls = [&model](HostCallRules rules) {
    const Shard shard = make_shard(model, Parallel{}, 0).shard;
    return host_calls(*make_family(model), shard, layer_classes(shard), rules);
  };
  constexpr HostCallRules kBoth{.composite = true, .norms_in_all_reduce = true};
  const double plain = calls(kBoth), no_sums = calls({.composite = true});
  model.precisions.attention = NumberFormat::kFp8;
  CHECK(calls(kBoth) == plain + 3);  // the products out of attention, one a layer
  CHECK(calls({.composite = true}) == no_sums + 6);
  model.precisions.attention = NumberFormat::kFp8Block;
  CHECK(calls(kBoth) == plain + 6);
}

TEST_CASE("composite calls of latent attention: four more a layer for what prompts expand") {
  const ModelSpec model = load_model("deepseek-ai/DeepSeek-V3", "", {});
  const Shard shard = make_shard(model, Parallel{}, 0).shard;
  const auto family = make_family(model);
  const std::vector<LayerClass> classes = layer_classes(shard);
  std::vector<Op> ops;
  family->token_ops(shard, classes, 1, ops);
  double inside = 0;
  for (const Op& op : ops) {
    for (const MemoryPart part : {MemoryPart::kRotary, MemoryPart::kKvWrite, MemoryPart::kRouting,
                                  MemoryPart::kAlign, MemoryPart::kExpertSum}) {
      inside += op.kind == OpKind::kElementwise && op.part == part ? op.repeat : 0;
    }
  }
  CHECK(host_calls(*family, shard, classes, {.composite = true}) ==
        host_calls(*family, shard, classes) - inside + 4 * 61);
}

TEST_CASE("norms of the hidden state vanish into all-reduces that are small enough") {
  const auto norm = [](const Op& op) { return op.part == MemoryPart::kNorm ? 1.0 : 0.0; };
  const double bytes = 2.0 * three_layers().hidden * 4;  // of four tokens in 16 bit
  const auto us = [&](int tp, double limit) {
    Priced priced({.us = norm, .tp = tp, .fused_norm_bytes = limit});
    return priced.us(work(4, kNone, 4));
  };
  CHECK(us(2, 0) == 3 * 2 + 1);  // two a layer, one before the LM head
  CHECK(us(2, bytes) == 1);      // the last has no sum before it in this step
  CHECK(us(2, bytes - 1) == 3 * 2 + 1);
  CHECK(us(1, bytes) == 3 * 2 + 1);  // nothing is summed
}

TEST_CASE("a stage takes as long as its kernels or its launches, whichever is longer") {
  const LaunchCost launch{
      .full_us = 15, .piece_us = 10, .piece_attention_us = 50, .eager_layer_us = 100};
  const std::vector<PromptChunk> long_prompt = {{0, 30, 0, true}};
  struct Case {
    std::string why;
    int stages;
    double kernel_us;  // of decode or prefill attention, per layer
    StepWork step;
    std::vector<double> expect_us;
    double overhead_us;
  };
  const Case cases[] = {
      {"full graph, no kernels: one replay", 1, 0, work(3, kNone, 3), {15}, 15},
      {"kernels of 3 x 4 hide part of it", 1, 4, work(3, kNone, 3), {15}, 3},
      {"kernels of 3 x 10 hide all of it", 1, 10, work(3, kNone, 3), {30}, 0},
      {"pieces: 4 x 10 and 3 x 50", 1, 0, work(0, kOne, 1), {190}, 190},
      {"no graph: 3 x 100", 1, 0, work(0, long_prompt, 1), {300}, 300},
      {"no graph, partly hidden", 1, 50, work(0, long_prompt, 1), {300}, 150},
      {"stages of 2 and 1 layers launch their own", 2, 0, work(0, long_prompt, 1), {200, 100}, 300},
      {"their pieces: 3 x 10 + 2 x 50, 2 x 10 + 50", 2, 0, work(0, kOne, 1), {130, 70}, 200},
      {"65 a layer: the first hides all, the second 65", 2, 65, work(0, kOne, 1), {130, 70}, 5},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const double kernel_us = c.kernel_us;
    Priced priced(
        {.us = [kernel_us](const Op& op) { return op.term == Term::kAttention ? kernel_us : 0; },
         .stages = c.stages,
         .launch = launch});
    const StepCost cost = priced(c.step);
    REQUIRE(cost.stage_ns.size() == c.expect_us.size());
    for (std::size_t s = 0; s < c.expect_us.size(); ++s) {
      CHECK(cost.stage_ns[s] == doctest::Approx(c.expect_us[s] * 1e3).epsilon(1e-9));
    }
    CHECK(cost.terms[static_cast<std::size_t>(Term::kLaunchOverhead)] ==
          doctest::Approx(c.overhead_us * 1e3).epsilon(1e-9));
  }
}
