// What copies of absent experts do to a step's time.
#include <doctest/doctest.h>

#include "tests/sim/steptime/priced_steps.h"

namespace moesim {
namespace {

// Experts of the three-layer model have 3 x 64 x 32 weights of 2 bytes; a copy takes `copy_us`.
struct CopiedSteps {
  ModelSpec model = three_layers();
  StepTime steps;
  CopiedSteps(double copy_us, OffloadPrefetch prefetch) : steps(make(model, copy_us, prefetch)) {}

  StepCost one_decode() {
    StepCost cost;
    steps.price(work(1, kNone, 1), cost);
    return cost;
  }

 private:
  static StepTime make(const ModelSpec& model, double copy_us, OffloadPrefetch prefetch) {
    EngineSpec engine;
    engine.max_num_seqs = 8;
    engine.max_num_batched_tokens = 64;
    engine.enforce_eager = true;
    engine.profile.launch = {0, 0, 0, 0, 0};
    KvLayout kv;
    kv.groups = {{AttentionKind::kFull, 0, 1}, {AttentionKind::kSliding, 8, 2}};
    std::vector<StepTime::Stage> stages;
    stages.push_back({make_shard(model, {}, 0).shard,
                      std::make_unique<ByFunction>(only(Term::kExpertGemm)), nullptr, 132});
    StepTime::Experts experts;
    experts.routing = made<ExpertRouting>("uniform");
    experts.fidelity = RoutingFidelity::kExact;
    ExpertTier::Config tier;
    tier.spec = {OffloadTier::kHost, OffloadPolicy::kPinnedHot, prefetch, 0};
    tier.bytes_per_ns = 3 * 64 * 32 * 2 / (copy_us * 1e3);
    experts.tier = tier;
    return {model, std::move(stages), kv, engine, std::move(experts), 1};
  }
};

double term(const StepCost& cost, Term which) {
  return cost.terms[static_cast<std::size_t>(which)] * 1e-3;
}

TEST_CASE("without prefetch every layer waits for its copies") {
  CopiedSteps steps(30, OffloadPrefetch::kNone);
  const StepCost cost = steps.one_decode();
  // Two layers of 10 us, one expert each to copy.
  CHECK(term(cost, Term::kExpertCopy) == doctest::Approx(60));
  CHECK(term(cost, Term::kOverlapped) == 0);
  CHECK(cost.stage_ns[0] * 1e-3 == doctest::Approx(80));
  CHECK(steps.steps.moe_stats().layers[1].tier.bytes == 3 * 64 * 32 * 2);
}

TEST_CASE("prefetch hides no more than the layer before takes") {
  CopiedSteps steps(30, OffloadPrefetch::kNextLayer);
  const StepCost cost = steps.one_decode();
  const double copies = term(cost, Term::kExpertCopy);
  // The second layer's expert is guessed, and fetched after all if the guess is wrong.
  CHECK((copies == doctest::Approx(60) || copies == doctest::Approx(90)));
  CHECK(term(cost, Term::kOverlapped) == doctest::Approx(-10));
  CHECK(cost.stage_ns[0] * 1e-3 == doctest::Approx(20 + copies - 10));
}

TEST_CASE("a short copy disappears behind the layer before") {
  CopiedSteps steps(4, OffloadPrefetch::kNextLayer);
  const StepCost cost = steps.one_decode();
  CHECK(term(cost, Term::kOverlapped) == doctest::Approx(-4));
}

}  // namespace
}  // namespace moesim
