#include "sim/validation/measured_setup.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include "sim/validation/published_formats.h"
#include "sim/validation/published_names.h"
#include "sim/validation/scenario_keys.h"

namespace moesim {
namespace {

/// Weights do not depend on the card, so any will do where it is not stated.
constexpr const char* kStandIn = "h100_sxm";

/// What of a row cannot be a scenario at all.
std::string problem_of(const MemoryRow& row) {
  const std::string backend = backend_of(row.engine);
  if (backend.empty()) return "engine not stated";
  const std::vector<std::string> known = known_backends();
  if (std::ranges::find(known, backend) == known.end())
    return fmt::format("engine {} is not modelled", backend);
  if (row.model.empty()) return "model not stated";
  if (!shipped_model_of(row.model))
    return fmt::format("model {} is not shipped", without_remark(row.model));
  const bool inside = backend == "sglang" && row.tp && *row.tp % row.attention_dp.value_or(1) == 0;
  if (row.attention_dp.value_or(1) > 1 && !inside)
    return "attention data parallelism is not modelled yet";
  if (row.ep.value_or(1) > 1) return "expert parallelism is not modelled yet";
  if (!row.tp) return "tensor-parallel size not stated";
  return "";
}

/// What the engine calls its share of the memory.
const char* share_key(const std::string& backend) {
  if (backend == "sglang") return "engine.mem_fraction_static";
  return backend == "trtllm" ? "engine.free_gpu_memory_fraction" : "engine.gpu_memory_utilization";
}

std::vector<std::string> engine_defaults(const MemoryRow& row, const PublishedRelease& release) {
  std::vector<std::string> filled;
  if (row.gpu.find("assumed") != std::string::npos) filled.emplace_back("card as the table has it");
  if (release.from_date) filled.push_back(fmt::format("release {} by date", release.version));
  if (release.version.empty()) filled.emplace_back("newest release");
  if (!row.utilization) filled.emplace_back("default utilisation");
  if (!row.max_num_batched_tokens) filled.emplace_back("default batched tokens");
  if (!row.max_num_seqs) filled.emplace_back("default sequences");
  if (!row.max_model_len) filled.emplace_back("model's length");
  return filled;
}

/// Lays the model out as the row says; returns why that is impossible, or nothing. After loading,
/// because the loader does not take expert parallelism yet.
std::string set_parallel(Scenario& scenario, const MemoryRow& row,
                         std::vector<std::string>& assumed) {
  Parallel& parallel = scenario.instances.front().parallel;
  // SGLang's attention replicas lie inside its tensor-parallel group; experts are cut over all of
  // it.
  parallel.dp = row.attention_dp.value_or(1);
  parallel.tp = *row.tp / parallel.dp;
  parallel.pp = row.pp.value_or(1);
  if (parallel.pp > scenario.model.num_layers())
    return fmt::format("{} stages for {} layers", parallel.pp, scenario.model.num_layers());
  std::string problem = make_shard(scenario.model, parallel, 0).problem;
  if (problem.empty() || row.ep) return problem;
  // The server did start. Where experts cannot be cut, it kept them whole, which costs the same
  // bytes (glossary 4).
  parallel.expert_parallel = true;
  if (!make_shard(scenario.model, parallel, 0).problem.empty()) return problem;
  assumed.emplace_back("whole experts");
  return "";
}

}  // namespace

MeasuredSetup set_up(const MemoryRow& row) {
  MeasuredSetup setup;
  setup.problem = problem_of(row);
  if (!setup.problem.empty()) return setup;
  const std::string backend = backend_of(row.engine);
  const PublishedRelease release = release_of(backend, row.version, row.date);
  std::optional<std::string> system = shipped_system_of(row.gpu);
  const bool guessed = !system;
  if (guessed) system = likely_system_of(row.gpu);
  if (!system) {
    setup.card_problem = row.gpu.empty()
                             ? "GPU not stated"
                             : fmt::format("GPU {} is not shipped", without_remark(row.gpu));
  }
  setup.system = system.value_or("");
  setup.engine = engine_group(backend, release.version);
  setup.assumed_engine = engine_defaults(row, release);
  if (system && guessed) setup.assumed_engine.push_back("card " + *system);

  ScenarioKeys keys("row");
  keys.set("model", *shipped_model_of(row.model));
  keys.set("engine.backend", backend);
  // SGLang's share of the memory depends on it, so it must be there when the engine is resolved.
  if (backend == "sglang")
    keys.set("deployment.instances.0.tensor_parallel_size", std::to_string(*row.tp));
  keys.set_system(system.value_or(kStandIn), *row.tp * row.pp.value_or(1));
  if (!release.version.empty())
    keys.set("engine.backend_version", fmt::format("'{}'", release.version));
  keys.set_if(share_key(backend), row.utilization);
  keys.set_if("engine.max_model_len", row.max_model_len);
  keys.set_if("engine.max_num_seqs", row.max_num_seqs);
  keys.set_if("engine.max_num_batched_tokens", row.max_num_batched_tokens);
  keys.set_if("engine.block_size", row.block_size);
  ScenarioOrProblem loaded = load_with(keys, row.id);
  setup.problem = loaded.problem;
  if (!setup.problem.empty()) return setup;
  setup.scenario = std::move(loaded.scenario);
  ModelSpec& model = setup.scenario->model;
  const bool stated = !weight_format_of(row.weight_dtype).empty();
  setup.problem =
      store_weights(model, stated ? row.weight_dtype : format_in_name(row.model), setup.assumed);
  if (setup.problem.empty()) setup.problem = store_kv(model, row.kv_dtype);
  if (setup.problem.empty()) setup.problem = set_parallel(*setup.scenario, row, setup.assumed);
  // Kernels of older cards pad MXFP4 (serving-semantics 2.3), so its size depends on the card.
  if (setup.problem.empty() && !system && model.precisions.experts == NumberFormat::kMxfp4)
    setup.problem = setup.card_problem + ", and the size of MXFP4 weights depends on it";
  return setup;
}

}  // namespace moesim
