#include "sim/kernel_log.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <memory>
#include <string>
#include <vector>

#include "models/model.h"
#include "sim/moesim.h"

namespace moesim {
namespace {

/// Products take a millisecond and are measured, all else two from the datasheet; norms are free.
class Answers final : public KernelModel {
 public:
  KernelTime time(const Op& op) const override {
    if (op.part == MemoryPart::kNorm) return {Seconds(0), Provenance::kMeasured};
    if (op.kind == OpKind::kGemm) return {Seconds(1e-3), Provenance::kMeasured};
    return {Seconds(2e-3), Provenance::kRoofline};
  }
  bool attends_mixed_batches() const override { return true; }
  std::vector<KernelOrigin> origins(const ModelSpec&) const override {
    return {{"gemm", "", "bfloat16", "here", false}};
  }
};

Op op_of(OpKind kind, Term term, int repeat = 1) {
  Op op;
  op.kind = kind;
  op.term = term;
  op.repeat = repeat;
  return op;
}

TEST_CASE("answers pass a log unchanged, which sums them by term, operator and class") {
  KernelLog log;
  const auto kernels = logged(std::make_unique<Answers>(), log);
  CHECK(kernels->time(op_of(OpKind::kGemm, Term::kRouter)).time == Seconds(1e-3));
  CHECK(kernels->time(op_of(OpKind::kGemm, Term::kRouter, 3)).time == Seconds(1e-3));
  CHECK(kernels->time(op_of(OpKind::kGemm, Term::kLmHead)).provenance == Provenance::kMeasured);
  CHECK(kernels->time(op_of(OpKind::kGroupedGemm, Term::kExpertGemm)).time == Seconds(2e-3));
  Op norm = op_of(OpKind::kElementwise, Term::kElementwise);
  norm.part = MemoryPart::kNorm;
  CHECK(kernels->time(norm).time == Seconds(0));
  // Prompts and decodes of a layer: the sum of both, one call.
  const KernelTime both =
      kernels->mixed_attention(op_of(OpKind::kAttentionPrefill, Term::kAttention),
                               op_of(OpKind::kAttentionDecode, Term::kAttention));
  CHECK(both.time == Seconds(4e-3));
  CHECK(kernels->attends_mixed_batches());
  CHECK(kernels->origins(ModelSpec()).size() == 1);

  const auto& entries = log.entries();
  REQUIRE(entries.size() == 4);  // what takes no time is no part of a step
  CHECK(entries[0].term == Term::kRouter);
  CHECK(entries[0].op == "gemm");
  CHECK(entries[0].time / Seconds(4e-3) == doctest::Approx(1));
  CHECK(entries[1].term == Term::kLmHead);
  CHECK(entries[2].op == "moe");
  CHECK(entries[2].provenance == Provenance::kRoofline);
  CHECK(entries[3].op == "attention_context");
  CHECK(entries[3].time / Seconds(4e-3) == doctest::Approx(1));
}

TEST_CASE("a log changes nothing of a run, and has the classes that the run reports") {
  const Scenario scenario =
      load_scenario(std::string(MOESIM_ROOT) + "/scenarios/01_quickstart.yaml",
                    {{"variants", "[]"},
                     {"uncertainty.replicas", "1"},
                     {"workload.synthetic.num_prompts", "20"}});
  World plain = build(scenario);
  KernelLog log;
  World told = build(scenario, {.kernel_log = &log});
  const RunResult result = simulate(told);
  CHECK(result.digest == simulate(plain).digest);
  for (const auto& share : result.provenance) {
    const std::string name = share.first;
    CAPTURE(name);
    CHECK(std::ranges::any_of(log.entries(), [&name](const KernelLog::Entry& entry) {
      return provenance_name(entry.provenance) == name;
    }));
  }
}

}  // namespace
}  // namespace moesim
