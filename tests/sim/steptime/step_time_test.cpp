#include "sim/steptime/step_time.h"

#include <doctest/doctest.h>
#include <numeric>
#include <string>
#include <vector>

#include "tests/sim/steptime/priced_steps.h"

using namespace moesim;

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
      {"one call a layer for all chunks", Term::kAttention, 0, kTwo, 1, 30},
      {"a mixed step pays for decodes and prompts", Term::kAttention, 4, kTwo, 5, 60},
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

TEST_CASE("decodes cost the same beside a prompt as alone") {
  // Bent, so that a table and the curve itself differ between nodes.
  const auto us = [](const Op& op) {
    const auto keys = static_cast<double>(op.n);
    if (op.kind == OpKind::kAttentionDecode) return 1e-3 * keys * keys;
    return op.kind == OpKind::kAttentionPrefill ? 5.0 : 0.0;
  };
  Priced priced({.us = us});
  for (const std::int64_t context : {64, 1017, 5003}) {
    CAPTURE(context);
    StepWork alone = work(3, kNone, 3), beside = work(3, kOne, 4);
    alone.decode_context = beside.decode_context = {context, 24};
    // Three layers, and a chunk in each.
    CHECK(priced.us(beside) - priced.us(alone) == doctest::Approx(3 * 5.0).epsilon(1e-6));
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

TEST_CASE("padding is computed, but routed for no request") {
  Priced priced({});
  (void)priced(work(3, kNone, 3));  // padded to 4
  (void)priced(work(8, kOne, 8));   // 13 tokens, padded to 16
  const MoeStats stats = priced.step_time.moe_stats();
  REQUIRE(stats.layers.size() == 2);
  for (const MoeLayerStats& layer : stats.layers) {
    CHECK(layer.tokens == 3 + 13);
    CHECK(layer.padded == 1 + 3);
    CHECK(layer.assignments == 16);
  }
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
