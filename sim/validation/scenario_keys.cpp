#include "sim/validation/scenario_keys.h"

#include <algorithm>

#include "hardware/system.h"
#include "scenarios/engine_profile.h"
#include "scenarios/load.h"

namespace moesim {
namespace {

/// One request is enough until the keys say more.
constexpr const char* kBase = R"(
schema_version: 1
name: measured
deployment: {instances: [{tensor_parallel_size: 1}]}
workload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 1, input_tokens: 1, output_tokens: 1}}
)";

/// The mistake that explains the others.
const Diagnostic& main_problem(const std::vector<Diagnostic>& list) {
  const auto backend = std::ranges::find(list, "engine.backend", &Diagnostic::key);
  return backend == list.end() ? list.front() : *backend;
}

}  // namespace

void ScenarioKeys::set_system(const std::string& system, int gpus) {
  const int per_node = std::min(gpus, load_system(system, "", {}).node.gpus);
  const int nodes = (gpus + per_node - 1) / per_node;
  set("system",
      fmt::format("{{nodes: [{{profile: {}, count: {}, gpus: {}}}]}}", system, nodes, per_node));
  if (nodes > 1) set("system.network", "{preset: leaf_spine, link: ndr_400g}");
}

ScenarioOrProblem load_with(const ScenarioKeys& keys, const std::string& name) {
  try {
    return {load_scenario_text(kBase, name, ".", keys.list()), ""};
  } catch (const InputError& error) {
    const Diagnostic& main = main_problem(error.diagnostics());
    return {std::nullopt, fmt::format("{}: {}", main.key, main.problem)};
  }
}

std::string engine_group(const std::string& backend, const std::string& version) {
  const std::vector<std::string> backends = known_backends();
  const bool known = std::ranges::find(backends, backend) != backends.end();
  if (version.empty() || !known) return backend;
  const ProfileChoice choice = engine_profile(backend, version);
  const bool older =
      !choice.note.empty() && choice.profile.version == known_versions(backend).front();
  return fmt::format("{} {}{}", backend, older ? "before " : "", choice.profile.version);
}

}  // namespace moesim
