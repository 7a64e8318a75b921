#include "sim/placement_study.h"

#include <doctest/doctest.h>
#include <filesystem>
#include <string>

#include "scenarios/load.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

namespace moesim {
namespace {

Scenario skewed(const std::string& routing, const std::string& engine = "true") {
  return load_scenario_text(
      "schema_version: 1\nname: place\nmodel: openai/gpt-oss-20b\n"
      "system: {nodes: [{profile: h100_sxm, count: 1, gpus: 4}]}\n"
      "engine: {enable_expert_parallel: " +
          engine +
          ", max_model_len: 4096}\n"
          "deployment: {instances: [{data_parallel_size: 4}]}\n"
          "workload:\n  arrival: {kind: closed_loop, max_concurrency: 256}\n"
          "  synthetic: {num_prompts: 256, input_tokens: 32, output_tokens: 16}\n"
          "uncertainty: {replicas: 1}\nrouting: " +
          routing + "\n",
      "test.yaml", ".", {});
}

TEST_CASE("EPLB evens out skewed experts, with copies more than without") {
  const PlacementStudy study = study_placements(skewed("{kind: lognormal, sigma: 1.05}"), {});
  REQUIRE(study.candidates.size() == 3);  // no round robin: the model has no expert groups
  const PlacementCandidate& linear = study.candidates[0];
  const PlacementCandidate& packed = study.candidates[1];
  const PlacementCandidate& copied = study.candidates[2];
  CHECK(linear.name == "linear");
  CHECK(packed.redundant == 0);
  CHECK(copied.redundant == 4);  // one a rank
  CHECK(linear.planned > 1.2);
  CHECK(packed.planned < linear.planned);
  CHECK(copied.planned <= packed.planned + 1e-9);
  CHECK(copied.judged >= copied.planned - 0.02);  // planned on another window
  CHECK(copied.output_throughput > linear.output_throughput);
  CHECK(copied.kv_tokens < linear.kv_tokens);  // copies take room
  CHECK(copied.moved_bytes > 0);
  CHECK(study.best != 0);
  CHECK(study.verdict.starts_with("EPLB pays"));
}

TEST_CASE("EPLB does not pay where experts are even") {
  const PlacementStudy study = study_placements(skewed("{kind: balanced}"), {0});
  CHECK(study.candidates[0].planned == doctest::Approx(1).epsilon(0.01));
  CHECK(study.verdict.starts_with("EPLB does not pay"));
  CHECK(study.candidates[study.best].name == "linear");
}

TEST_CASE("what does not pay is not the best, even if it is a little faster") {
  // EPLB moves weights every step: whatever it gains is less than the time it stops.
  Scenario scenario = skewed("{kind: lognormal, sigma: 1.05}");
  scenario.placement.step_interval = 1;
  const PlacementStudy study = study_placements(scenario, {4});
  CHECK(study.candidates[1].output_throughput > study.candidates[0].output_throughput);
  CHECK(study.verdict.starts_with("EPLB does not pay"));
  CHECK(study.candidates[study.best].name == "linear");
}

TEST_CASE("the scenario's own placement is one of those compared") {
  Scenario scenario = skewed("{kind: lognormal, sigma: 1.05}");
  // What EPLB found is as good when a file says it.
  const PlacementCandidate eplb = study_placements(scenario, {4}).candidates[1];
  std::string text = "[";
  for (int l = 0; l < eplb.placement.layers; ++l) {
    const auto slots = eplb.placement.layer(l);
    text += l > 0 ? ",[" : "[";
    for (std::size_t s = 0; s < slots.size(); ++s)
      text += (s > 0 ? "," : "") + std::to_string(slots[s]);
    text += "]";
  }
  scenario.placement.name = "file";
  const auto file = std::filesystem::temp_directory_path() / "moesim_placement_study.json";
  write_file(file, text + "]");
  scenario.placement.file = file.string();
  const PlacementStudy study = study_placements(scenario, {4});
  std::filesystem::remove(file);
  REQUIRE(study.candidates.size() == 3);
  const PlacementCandidate& own = study.candidates[1];
  CHECK(own.name == "file");
  CHECK(own.redundant == 4);
  CHECK(own.placement == eplb.placement);
  CHECK(own.replica_bytes == eplb.replica_bytes);
  CHECK(own.moved_bytes == eplb.moved_bytes);
  CHECK(own.output_throughput == eplb.output_throughput);
  // EPLB gives no more than the file: nothing is worth moving.
  CHECK(study.best == 1);
  CHECK(study.verdict.starts_with("EPLB does not pay"));
  CHECK(study.verdict.find("against file") != std::string::npos);
}

TEST_CASE("placements are planned for the domains that requests are of") {
  // The same sequences of two domains; nearly all requests take those of one or of the other.
  const auto packed = [](const char* mix) {
    const std::string routing = std::string("{kind: latent_logit, domain_mix: ") + mix + "}";
    return study_placements(skewed(routing), {0}).candidates[1].placement;
  };
  const ExpertPlacement code = packed("{code: 1, law: 0.001}");
  CHECK(code == packed("{code: 1000, law: 1}"));
  CHECK_FALSE(code == packed("{code: 0.001, law: 1}"));
}

TEST_CASE("prefill is judged by prompt tokens and the first token, and has no time per token") {
  Scenario scenario = skewed("{kind: lognormal, sigma: 1.05}");
  for (InstanceSpec& entry : scenario.instances) entry.role = Role::kPrefill;
  const PlacementStudy study = study_placements(scenario, {0});
  CHECK(study.prefill);
  const PlacementCandidate& linear = study.candidates[0];
  const PlacementCandidate& packed = study.candidates[1];
  CHECK_FALSE(linear.mean_tpot_ms.has_value());
  CHECK(linear.mean_ttft_ms.has_value());
  // Every prompt has 32 tokens and gives one.
  CHECK(linear.input_throughput == doctest::Approx(32 * linear.output_throughput));
  CHECK((study.best == 1) == (packed.input_throughput > linear.input_throughput));
  CHECK(study.verdict.find("input tokens/s") != std::string::npos);
  CHECK(study.verdict.find("time to the first token") != std::string::npos);
  CHECK(study.verdict.find("nan") == std::string::npos);
}

TEST_CASE("a study is the same every time") {
  const Scenario scenario = skewed("{kind: zipf, exponent: 0.7}");
  const PlacementStudy first = study_placements(scenario, {4});
  const PlacementStudy second = study_placements(scenario, {4});
  for (std::size_t i = 0; i < first.candidates.size(); ++i) {
    CHECK(first.candidates[i].placement == second.candidates[i].placement);
    CHECK(first.candidates[i].output_throughput == second.candidates[i].output_throughput);
  }
}

std::string refusal(const std::string& model, const std::string& engine,
                    const std::string& instance) {
  const Scenario scenario = load_scenario_text(
      "schema_version: 1\nname: place\nmodel: " + model +
          "\nsystem: {nodes: [{profile: h100_sxm, count: 1, gpus: 2}]}\n"
          "engine: {enable_expert_parallel: " +
          engine + ", max_model_len: 4096}\ndeployment: {instances: [{" + instance +
          "}]}\nworkload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 4, "
          "input_tokens: 8, output_tokens: 4}}\n",
      "test.yaml", ".", {});
  try {
    static_cast<void>(study_placements(scenario, {}));
  } catch (const InputError& error) {
    return error.diagnostics().front().problem + "; " + error.diagnostics().front().hint;
  }
  return "accepted";
}

TEST_CASE("where nothing can be placed, the reason is the true one") {
  const std::string moe = "openai/gpt-oss-20b";
  CHECK(refusal("meta-llama/Llama-3.1-8B", "false", "tensor_parallel_size: 2") ==
        "the model has no experts: there is nothing to place; name a model that has");
  CHECK(refusal(moe, "false", "tensor_parallel_size: 1") ==
        "one GPU has all experts of its layers: there is nothing to place; raise "
        "tensor_parallel_size or data_parallel_size, with engine.enable_expert_parallel on");
  CHECK(refusal(moe, "false", "tensor_parallel_size: 2") ==
        "its experts are cut over all ranks: there is nothing to place; turn "
        "engine.enable_expert_parallel on");
}

TEST_CASE("the same skew is judged by latency where the load is low, and saturation is said") {
  Scenario scenario = skewed("{kind: lognormal, sigma: 1.05}");
  scenario.workload.arrival = {.policy = {"constant", "{}", {}}, .request_rate = 20};
  const PlacementStudy study = study_placements(scenario, {4});
  REQUIRE(study.eplb);
  CHECK(study.open_loop);
  CHECK(study.candidates[0].keeps_up);
  CHECK(study.judged_by == "mean_tpot_ms");
  CHECK(study.candidates[0].saturated_throughput > 2 * study.candidates[0].output_throughput);
  CHECK(study.candidates[1].saturated_throughput > study.candidates[0].saturated_throughput);
  CHECK(study.verdict.find("With all requests there at once: +") != std::string::npos);
  // What one run at once gives is what a workload that says so gives.
  scenario.workload.arrival = {.policy = {"all_at_once", "{}", {}}};
  const PlacementStudy at_once = study_placements(scenario, {4});
  CHECK_FALSE(at_once.open_loop);
  CHECK(at_once.judged_by == "output_throughput");
  CHECK_FALSE(at_once.candidates[0].saturated_throughput);
  CHECK(at_once.candidates[0].output_throughput == study.candidates[0].saturated_throughput);
}

TEST_CASE("more ranks than experts: every placement has the copies that fill them") {
  const Scenario scenario = load_scenario_text(
      "schema_version: 1\nname: place\nmodel: mistralai/Mixtral-8x7B-v0.1\n"
      "system: {nodes: [{profile: h200_sxm, count: 2}], network: {preset: rail_optimized, link: "
      "ndr_400g}}\nengine: {enable_expert_parallel: true, max_model_len: 2048}\n"
      "deployment: {instances: [{data_parallel_size: 16}]}\n"
      "placement: {eplb: {num_redundant_experts: 8}}\n"
      "workload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 16, input_tokens: 8, "
      "output_tokens: 4}}\n",
      "test.yaml", ".", {});
  const PlacementStudy study = study_placements(scenario, {});
  REQUIRE(study.candidates.size() == 3);
  CHECK(study.candidates[0].name == "linear");
  CHECK(study.candidates[0].redundant == 8);
  CHECK(study.candidates[1].redundant == 8);
  CHECK(study.candidates[2].redundant == 24);
  CHECK(study.candidates[0].output_throughput > 0);
  try {
    static_cast<void>(study_placements(scenario, {0}));
    FAIL("accepted");
  } catch (const InputError& error) {
    CHECK(error.diagnostics().front().hint == "write 8");
  }
}

TEST_CASE("copies must divide over ranks") {
  CHECK_THROWS_AS(static_cast<void>(study_placements(skewed("{kind: uniform}"), {3})), InputError);
}

}  // namespace
}  // namespace moesim
