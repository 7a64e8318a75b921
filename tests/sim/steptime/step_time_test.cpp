#include "sim/steptime/step_time.h"

#include <doctest/doctest.h>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "tests/sim/small_cluster.h"

using namespace moesim;

namespace {

/// Prices an operator by a function of it, in microseconds.
class ByFunction final : public KernelModel {
 public:
  using Function = std::function<double(const Op&)>;
  explicit ByFunction(Function us) : us_(std::move(us)) {}
  KernelTime time(const Op& op) const override {
    const bool attention = op.term == Term::kAttention;
    return {Seconds(us_(op) * 1e-6), attention ? Provenance::kMeasured : Provenance::kDonor};
  }

 private:
  Function us_;
};

/// Three layers: a dense one with full attention, two MoE ones with a window of 8.
ModelSpec three_layers() {
  ModelSpec model;
  model.id = "test/three-layers";
  model.family = "gqa_moe";
  model.hidden = 64;
  model.vocab = 128;
  model.heads = 4;
  model.kv_heads = 2;
  model.head_dim = model.v_head_dim = 16;
  LayerSpec dense;
  dense.dense_intermediate = 96;
  LayerSpec moe;
  moe.attention = AttentionKind::kSliding;
  moe.window = 8;
  moe.moe = true;
  moe.num_experts = 4;
  moe.top_k = 1;
  moe.expert_intermediate = 32;
  model.layers = {dense, moe, moe};
  return model;
}

struct Setup {
  ByFunction::Function us = [](const Op&) { return 0.0; };
  int stages = 1;
  LaunchCost launch = {0, 0, 0, 0, 0};  ///< no launch costs unless a test is about them
  std::vector<int> capture_sizes = {1, 2, 4, 8, 16};
  int max_num_seqs = 8;
  bool enforce_eager = false;
  bool full_graphs = true;
  PromptGraphs prompt_graphs = PromptGraphs::kSame;
  std::vector<int> prompt_sizes = {};
  bool pad_to_graph = true;
  std::vector<KvGroup> kv_groups = {{AttentionKind::kFull, 0, 1}, {AttentionKind::kSliding, 8, 2}};
};

struct Priced {
  ModelSpec model = three_layers();
  StepTime step_time;

  explicit Priced(const Setup& setup) : step_time(make(setup, model)) {}

  StepCost operator()(const StepWork& work) {
    StepCost cost;
    step_time.price(work, cost);
    return cost;
  }
  /// All stages, in us.
  double us(const StepWork& work) {
    const StepCost cost = (*this)(work);
    return std::accumulate(cost.stage_ns.begin(), cost.stage_ns.end(), 0.0) * 1e-3;
  }

 private:
  static StepTime make(const Setup& setup, const ModelSpec& model) {
    EngineSpec engine;
    engine.max_num_seqs = setup.max_num_seqs;
    engine.max_num_batched_tokens = 64;
    engine.cudagraph_capture_sizes = setup.capture_sizes;
    engine.enforce_eager = setup.enforce_eager;
    engine.profile.full_graphs = setup.full_graphs;
    engine.profile.prompt_graphs = setup.prompt_graphs;
    engine.profile.pad_to_graph = setup.pad_to_graph;
    engine.prompt_capture_sizes = setup.prompt_sizes;
    engine.profile.launch = setup.launch;
    KvLayout kv;
    kv.groups = setup.kv_groups;
    std::vector<StepTime::Stage> stages;
    for (int stage = 0; stage < setup.stages; ++stage) {
      const Parallel parallel{.pp = setup.stages};
      stages.push_back(
          {make_shard(model, parallel, stage).shard, std::make_unique<ByFunction>(setup.us)});
    }
    return {model, std::move(stages), kv, engine, made<ExpertRouting>("uniform"), 1};
  }
};

/// 10 us for every operator of one term.
ByFunction::Function only(Term term) {
  return [term](const Op& op) { return op.term == term ? 10.0 : 0.0; };
}

StepWork work(int decodes, std::span<const PromptChunk> chunks, int rows) {
  return {
      .step = 0, .decodes = decodes, .decode_context = {}, .chunks = chunks, .sampled_rows = rows};
}

const std::vector<PromptChunk> kNone;
const std::vector<PromptChunk> kOne = {{0, 5, 0, true}};
const std::vector<PromptChunk> kTwo = {{0, 5, 0, true}, {1, 3, 16, false}};

}  // namespace

TEST_CASE("every operator of a step is counted as often as it runs") {
  struct Case {
    std::string why;
    Term term;
    int decodes;
    const std::vector<PromptChunk>& chunks;
    int rows;
    double expect_us;  // 10 for each operator and layer
  };
  const Case cases[] = {
      {"one call of decode attention a layer, however many requests", Term::kAttention, 4, kNone, 4,
       30},
      {"one call a chunk and layer", Term::kAttention, 0, kTwo, 1, 60},
      {"a mixed step pays both", Term::kAttention, 4, kTwo, 5, 90},
      {"QKV and output projections", Term::kAttentionProj, 1, kNone, 1, 60},
      {"routers of the two MoE layers: scores, then the choice", Term::kRouter, 1, kNone, 1, 40},
      {"routed experts of the two MoE layers", Term::kExpertGemm, 1, kNone, 1, 20},
      {"dense FFN of one layer: two GEMMs and the activation", Term::kDenseFfn, 1, kNone, 1, 30},
      {"the embedding once", Term::kEmbedding, 1, kNone, 1, 10},
      {"the LM head once, if anything is sampled", Term::kLmHead, 3, kNone, 3, 10},
      {"not for chunks that do not end their prompt", Term::kLmHead, 0, kTwo, 0, 0},
      {"sampling likewise", Term::kSampling, 0, kTwo, 1, 10},
      {"nothing is sent by the only stage", Term::kPpSendRecv, 1, kNone, 1, 0},
      {"nor reduced by a single GPU", Term::kAllReduce, 1, kNone, 1, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    Priced priced({.us = only(c.term)});
    const StepCost cost = priced(work(c.decodes, c.chunks, c.rows));
    CHECK(cost.stage_ns.size() == 1);
    CHECK(cost.stage_ns[0] == doctest::Approx(c.expect_us * 1e3).epsilon(1e-9));
    CHECK(cost.terms[static_cast<std::size_t>(c.term)] ==
          doctest::Approx(c.expect_us * 1e3).epsilon(1e-9));
  }
}

TEST_CASE("the stages of a pipeline share the layers out and pay for their own part") {
  // Stage 0: embedding, the dense layer and one MoE layer, and a message; stage 1 the rest.
  struct Case {
    std::string why;
    Term term;
    double first_us, second_us;
  };
  const Case cases[] = {
      {"attention by layers", Term::kAttention, 20, 10},
      {"the embedding comes first", Term::kEmbedding, 10, 0},
      {"the LM head last", Term::kLmHead, 0, 10},
      {"the first sends to the second", Term::kPpSendRecv, 10, 0},
      {"each has a MoE layer", Term::kExpertGemm, 10, 10},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    Priced priced({.us = only(c.term), .stages = 2});
    CHECK(priced.step_time.stages() == 2);
    const StepCost cost = priced(work(1, kNone, 1));
    REQUIRE(cost.stage_ns.size() == 2);
    CHECK(cost.stage_ns[0] == doctest::Approx(c.first_us * 1e3).epsilon(1e-9));
    CHECK(cost.stage_ns[1] == doctest::Approx(c.second_us * 1e3).epsilon(1e-9));
  }
}

TEST_CASE("token-wise work is padded to the captured size, attention and sampling are not") {
  const auto query_tokens = [](Term term) {
    return [term](const Op& op) {
      return op.term == term && op.kind != OpKind::kElementwise ? static_cast<double>(op.m) : 0.0;
    };
  };
  struct Case {
    std::string why;
    Term term;
    int decodes;
    const std::vector<PromptChunk>& chunks;
    int rows;
    double expect_us;  // tokens of each operator, summed over operators and layers
  };
  const Case cases[] = {
      {"3 decodes run as 4; two router GEMMs", Term::kRouter, 3, kNone, 3, 2 * 4},
      {"3 + 8 tokens run as 16", Term::kRouter, 3, kTwo, 4, 2 * 16},
      {"attention of 3 decodes sees 3, in three layers", Term::kAttention, 3, kNone, 3, 3 * 3},
      {"chunks of 5 and 3 beside 3 decodes", Term::kAttention, 3, kTwo, 4, 3 * (3 + 5 + 3)},
      {"rows of the LM head are those sampled", Term::kLmHead, 3, kTwo, 4, 4},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    Priced priced({.us = query_tokens(c.term)});
    CHECK(priced.us(work(c.decodes, c.chunks, c.rows)) ==
          doctest::Approx(c.expect_us).epsilon(1e-9));
  }
}

TEST_CASE("decode attention of a layer reads the context of its KV group") {
  const auto context = [](const Op& op) {
    return op.kind == OpKind::kAttentionDecode ? static_cast<double>(op.n) : 0.0;
  };
  StepWork step = work(2, kNone, 2);
  step.decode_context = {100, 7};
  struct Case {
    std::string why;
    std::vector<KvGroup> groups;
    double expect_us;
  };
  const Case cases[] = {
      {"one full layer reads 100, two windowed ones 7 each",
       {{AttentionKind::kFull, 0, 1}, {AttentionKind::kSliding, 8, 2}},
       100 + 2 * 7},
      {"groups in the other order",
       {{AttentionKind::kSliding, 8, 2}, {AttentionKind::kFull, 0, 1}},
       7 + 2 * 100},
      {"without the hybrid manager all layers are stored in the full group",
       {{AttentionKind::kFull, 0, 3}},
       3 * 100},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    Priced priced({.us = context, .kv_groups = c.groups});
    CHECK(priced.us(step) == doctest::Approx(c.expect_us).epsilon(1e-9));
  }
}

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
      {"nothing captured", {.capture_sizes = {}}, 4, true, GraphMode::kNone, 4},
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
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const Priced priced(c.setup);
    const StepTime::Dispatch dispatch = priced.step_time.dispatch(c.tokens, c.uniform);
    CHECK(dispatch.mode == c.mode);
    CHECK(dispatch.padded == c.padded);
  }
}

TEST_CASE("a stage takes as long as its kernels or its launches, whichever is longer") {
  const LaunchCost launch{.full_us = 15,
                          .per_node_us = 0,
                          .piece_us = 10,
                          .piece_attention_us = 50,
                          .eager_layer_us = 100};
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

TEST_CASE("terms and provenance both sum to the time of the stages") {
  const auto by_size = [](const Op& op) { return 0.3 + static_cast<double>(op.m) * 0.01; };
  for (const int stages : {1, 2, 3}) {
    CAPTURE(stages);
    Priced priced({.us = by_size, .stages = stages, .launch = {}});
    for (const auto* chunks : {&kNone, &kOne, &kTwo}) {
      const StepCost cost = priced(work(3, *chunks, 4));
      const double total = std::accumulate(cost.stage_ns.begin(), cost.stage_ns.end(), 0.0);
      CHECK(std::accumulate(cost.terms.begin(), cost.terms.end(), 0.0) ==
            doctest::Approx(total).epsilon(1e-12));
      CHECK(std::accumulate(cost.provenance_ns.begin(), cost.provenance_ns.end(), 0.0) ==
            doctest::Approx(total).epsilon(1e-12));
      CHECK(cost.provenance_ns[static_cast<std::size_t>(Provenance::kMeasured)] ==
            doctest::Approx(cost.terms[static_cast<std::size_t>(Term::kAttention)]).epsilon(1e-12));
    }
  }
}

TEST_CASE("the same step costs the same, whatever was priced before") {
  const auto active = [](const Op& op) { return 1.0 + op.active_experts; };
  Priced fresh({.us = active}), used({.us = active});
  for (int decodes = 1; decodes <= 8; ++decodes) (void)used(work(decodes, kTwo, 2));
  for (std::uint64_t step = 0; step < 50; ++step) {
    StepWork w = work(3, kOne, 4);
    w.step = step;
    CHECK(fresh(w).stage_ns == used(w).stage_ns);
  }
}

TEST_CASE("steps of the same size differ by the experts their tokens take") {
  const auto active = [](const Op& op) { return 10.0 * op.active_experts; };
  Priced priced({.us = active});
  // 4 tokens choose one of 4 experts each, in two layers: 1 to 4 experts are active in each.
  double least = 1e9, most = 0;
  for (std::uint64_t step = 0; step < 400; ++step) {
    StepWork w = work(4, kNone, 4);
    w.step = step;
    const double us = priced.us(w);
    least = std::min(least, us);
    most = std::max(most, us);
  }
  CHECK(least >= 20);
  CHECK(most <= 80);
  CHECK(most - least >= 20);
}

TEST_CASE("steps larger than any table are priced too: static batches pad without bound") {
  Priced priced({.us = [](const Op& op) {
    return op.term == Term::kRouter && op.kind == OpKind::kGemm ? static_cast<double>(op.m) : 0.0;
  }});
  const std::vector<PromptChunk> wide(3, PromptChunk{0, 5000, 0, true});
  for (int twice = 0; twice < 2; ++twice) {
    CHECK(priced.us(work(0, wide, 3)) == doctest::Approx(2 * 15'000).epsilon(1e-9));
    CHECK(priced.us(work(1, kNone, 1)) == doctest::Approx(2).epsilon(1e-9));
  }
}
