// The shipped scenarios load, and scenarios/README.md tells the truth about them, their keys and
// what is registered.

#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "scenarios/arrivals.h"
#include "scenarios/expert_routing.h"
#include "scenarios/importer.h"
#include "sim/base/files.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

const fs::path kFolder = fs::path(MOESIM_ROOT) / "scenarios";

/// Names in backticks at the start of the rows of "## <title>".
std::vector<std::string> names_of(const std::string& title) {
  std::istringstream text(read_file(kFolder / "README.md"));
  std::vector<std::string> names;
  bool inside = false;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("## ")) inside = line == "## " + title;
    if (!inside || !line.starts_with("| `")) continue;
    names.push_back(line.substr(3, line.find('`', 3) - 3));
  }
  return names;
}

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::ranges::sort(names);
  return names;
}

std::vector<fs::path> shipped() {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

TEST_CASE("the gallery lists every shipped scenario, in order") {
  std::vector<std::string> files;
  for (const fs::path& file : shipped()) files.push_back(file.filename().string());
  CHECK(names_of("Gallery") == files);
}

TEST_CASE("every shipped scenario loads, asks a question first and says what it is") {
  std::set<std::string> names;
  for (const fs::path& file : shipped()) {
    CAPTURE(file.string());
    const std::string text = read_file(file);
    CHECK(text.starts_with("# "));
    const std::size_t comment_end = text.find("\nschema_version");
    CHECK(text.substr(0, comment_end).find('?') != std::string::npos);
    try {
      const Scenario scenario = load_scenario(file);
      CHECK_FALSE(scenario.description.empty());
      CHECK(scenario.warnings.empty());
      CHECK(names.insert(scenario.name).second);
      CHECK(make_workload(scenario.workload, scenario.seed).size() > 0);
      for (const VariantSpec& variant : scenario.variants) {
        CAPTURE(variant.name);
        const Scenario changed = load_scenario(file, variant_overrides(variant));
        CHECK(make_workload(changed.workload, changed.seed).size() > 0);
      }
    } catch (const InputError& error) {
      CHECK(std::string(error.what()) == "");
    }
  }
}

TEST_CASE("the tables of arrivals, routings and importers are what is registered") {
  CHECK(sorted(names_of("Arrivals")) == Registry<Arrivals>::names());
  CHECK(sorted(names_of("Expert routing")) == Registry<ExpertRouting>::names());
  CHECK(sorted(names_of("Importers")) == Registry<Importer>::names());
}

TEST_CASE("everything registered has a test of its own") {
  const fs::path tests = fs::path(MOESIM_TEST_DIR) / "scenarios";
  const auto check = [&](const char* folder, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      CAPTURE(name);
      CHECK(fs::is_regular_file(tests / folder / (name + "_test.cpp")));
    }
  };
  check("arrivals", Registry<Arrivals>::names());
  check("expert_routing", Registry<ExpertRouting>::names());
  check("importers", Registry<Importer>::names());
}

TEST_CASE("every key of the README is one the loader knows") {
  const std::vector<std::string> keys = names_of("Keys");
  CHECK(keys.size() > 70);
  for (std::string key : keys) {
    CAPTURE(key);
    for (std::size_t at = key.find("[]"); at != std::string::npos; at = key.find("[]"))
      key.replace(at, 2, ".0");
    // Whatever the key takes, it does not take this; but it must not be unknown.
    for (const Diagnostic& diagnostic :
         mistakes_of(small_scenario(), {{key, "{no_such_key: 1}"}})) {
      const bool about_key = diagnostic.key == key;
      CHECK_FALSE((about_key && diagnostic.problem.find("unknown key") != std::string::npos));
    }
  }
}

TEST_CASE("every key of the loader is in the README") {
  const std::vector<std::string> keys = names_of("Keys");
  const std::set<std::string> listed(keys.begin(), keys.end());
  const char* const known[] = {"schema_version",
                               "name",
                               "description",
                               "seed",
                               "model",
                               "precision.weights",
                               "precision.experts",
                               "precision.kv_cache",
                               "lora.adapters",
                               "lora.rank",
                               "lora.targets",
                               "lora.hot_experts",
                               "system.nodes[].profile",
                               "system.nodes[].kernels",
                               "system.nodes[].count",
                               "system.nodes[].gpus",
                               "system.network.preset",
                               "system.network.link",
                               "system.network.nics_per_node",
                               "system.network.oversubscription",
                               "system.network.graph",
                               "workload.trace",
                               "workload.trace.path",
                               "workload.trace.blocks",
                               "workload.trace.block_tokens",
                               "workload.trace.start_s",
                               "workload.trace.end_s",
                               "workload.trace.rate_scale",
                               "workload.arrival.kind",
                               "workload.arrival.request_rate",
                               "workload.arrival.burstiness",
                               "workload.arrival.max_concurrency",
                               "workload.synthetic.num_prompts",
                               "workload.synthetic.input_tokens",
                               "workload.synthetic.output_tokens",
                               "workload.synthetic.shared_prefix_tokens",
                               "workload.synthetic.turns",
                               "workload.synthetic.think_time_s",
                               "workload.warmup_s",
                               "workload.duration_s",
                               "workload.finish",
                               "routing.kind",
                               "routing.fidelity",
                               "routing.seed",
                               "routing.capacity_factor",
                               "routing.overflow",
                               "routing.capacity_scope",
                               "placement",
                               "placement.eplb.init_expert_location",
                               "offload.experts.tier",
                               "offload.experts.resident_fraction",
                               "offload.experts.policy",
                               "offload.experts.prefetch",
                               "offload.experts.compute",
                               "slo.ttft_ms",
                               "slo.tpot_ms",
                               "slo.itl_ms",
                               "slo.e2el_ms",
                               "slo.percentile",
                               "cost.gpu_hour_usd",
                               "uncertainty.replicas",
                               "variants"};
  for (const char* key : known) {
    CAPTURE(std::string(key));
    CHECK(listed.contains(key));
  }
  // The engine's keys are those a load resolves.
  for (const ResolvedOption& option : load_text(small_scenario()).resolved) {
    CAPTURE(option.key);
    if (option.key.starts_with("engine.")) CHECK(listed.contains(option.key));
  }
}

}  // namespace
}  // namespace moesim
