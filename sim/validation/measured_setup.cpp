#include "sim/validation/measured_setup.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <string_view>
#include <utility>

#include "hardware/system.h"
#include "scenarios/load.h"
#include "sim/validation/published_names.h"

namespace moesim {
namespace {

/// Weights do not depend on the card, so any will do where it is not stated.
constexpr const char* kStandIn = "h100_sxm";

/// One request is enough: nothing is simulated.
constexpr const char* kBase = R"(
schema_version: 1
name: measured
deployment: {instances: [{tensor_parallel_size: 1}]}
workload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 1, input_tokens: 1, output_tokens: 1}}
)";

/// Number formats of the tables. A checkpoint that is quantised already keeps its own layout (which
/// parts, which blocks) if its width is the one named.
struct FormatName {
  std::string_view published;
  NumberFormat format;
};
constexpr std::array kFormats = {FormatName{"bf16", NumberFormat::kBf16},
                                 FormatName{"fp16", NumberFormat::kFp16},
                                 FormatName{"fp16/bf16", NumberFormat::kBf16},
                                 FormatName{"fp8", NumberFormat::kFp8},
                                 FormatName{"fp8-dynamic", NumberFormat::kFp8},
                                 FormatName{"fp8-block", NumberFormat::kFp8Block},
                                 FormatName{"fp8_block", NumberFormat::kFp8Block},
                                 FormatName{"mxfp4", NumberFormat::kMxfp4},
                                 FormatName{"nvfp4", NumberFormat::kNvfp4}};

/// Published fp8 checkpoints that quantise the feed-forward layers only: "The Llama 3 Herd of
/// Models" (2024), 6.2. It spares the first and last layer, too, which we do not: 1 % of its bytes.
constexpr std::array<std::string_view, 1> kFeedForwardOnly = {"meta-llama/Llama-3.1-405B"};

/// Of most of the weights.
NumberFormat main_format(const ModelSpec& model) {
  return model.is_moe() ? model.precisions.experts : model.precisions.dense_ffn;
}

/// Stores `model` as the row says; returns why that is impossible, or nothing.
std::string set_weights(ModelSpec& model, const std::string& published,
                        std::vector<std::string>& assumed) {
  const std::string name = without_remark(published);
  if (name.empty()) {
    assumed.push_back(to_text(main_format(model)) + " weights");
    return "";
  }
  const auto* const found = std::ranges::find(kFormats, name, &FormatName::published);
  if (found == kFormats.end()) return fmt::format("weight format '{}' is not known", name);
  const int bits = payload_bits(found->format);
  if (bits != 16 && bits == payload_bits(main_format(model))) return "";
  const bool feed_forward_only =
      bits == 8 && std::ranges::find(kFeedForwardOnly, model.id) != kFeedForwardOnly.end();
  if (feed_forward_only) {
    model.precisions.dense_ffn = found->format;
  } else {
    apply_precision(model, {.weights = to_text(found->format)});
  }
  return "";
}

std::string set_kv(ModelSpec& model, const std::string& published) {
  const std::string text = without_remark(published);
  const std::string name = text.substr(0, text.find(' '));  // "bf16 MLA latent"
  if (name.empty() || name == "auto") return "";
  for (const char* known : {"bf16", "fp16", "fp8"}) {
    if (name != known) continue;
    apply_precision(model, {.kv_cache = name});
    return "";
  }
  return fmt::format("KV format '{}' is not known", name);
}

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

/// Collects the keys a scenario needs.
class Keys {
 public:
  void set(const char* path, const std::string& value) { list_.push_back({path, value, "row"}); }
  void set(const char* path, int value) { set(path, std::to_string(value)); }
  template <class T>
  void set_if(const char* path, const std::optional<T>& value) {
    if (value) set(path, fmt::format("{}", *value));
  }
  [[nodiscard]] const std::vector<Override>& list() const { return list_; }

 private:
  std::vector<Override> list_;
};

/// Whole nodes of the card for `gpus` GPUs.
void set_system(Keys& keys, const std::string& system, int gpus) {
  const int per_node = std::min(gpus, load_system(system, "", {}).node.gpus);
  const int nodes = (gpus + per_node - 1) / per_node;
  keys.set("system", fmt::format("{{nodes: [{{profile: {}, count: {}, gpus: {}}}]}}", system, nodes,
                                 per_node));
  if (nodes > 1) keys.set("system.network", "{preset: leaf_spine, link: ndr_400g}");
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

/// "vllm 0.15"; releases older than every profile of ours are a group of their own
/// (serving-semantics 0.2), as are rows of unknown release.
std::string engine_group(const std::string& backend, const std::string& version) {
  if (version.empty()) return backend;
  const ProfileChoice choice = engine_profile(backend, version);
  const bool older =
      !choice.note.empty() && choice.profile.version == known_versions(backend).front();
  return fmt::format("{} {}{}", backend, older ? "before " : "", choice.profile.version);
}

}  // namespace

MeasuredSetup set_up(const MemoryRow& row) {
  MeasuredSetup setup;
  setup.problem = problem_of(row);
  if (!setup.problem.empty()) return setup;
  const std::string backend = backend_of(row.engine);
  const PublishedRelease release = release_of(backend, row.version, row.date);
  const std::optional<std::string> system = shipped_system_of(row.gpu);
  if (!system) {
    setup.card_problem = row.gpu.empty()
                             ? "GPU not stated"
                             : fmt::format("GPU {} is not shipped", without_remark(row.gpu));
  }
  setup.system = system.value_or("");
  setup.engine = engine_group(backend, release.version);
  setup.assumed_engine = engine_defaults(row, release);

  Keys keys;
  keys.set("model", *shipped_model_of(row.model));
  keys.set("engine.backend", backend);
  // SGLang's share of the memory depends on it, so it must be there when the engine is resolved.
  if (backend == "sglang") keys.set("deployment.instances.0.tensor_parallel_size", *row.tp);
  set_system(keys, system.value_or(kStandIn), *row.tp * row.pp.value_or(1));
  if (!release.version.empty())
    keys.set("engine.backend_version", fmt::format("'{}'", release.version));
  keys.set_if(share_key(backend), row.utilization);
  keys.set_if("engine.max_model_len", row.max_model_len);
  keys.set_if("engine.max_num_seqs", row.max_num_seqs);
  keys.set_if("engine.max_num_batched_tokens", row.max_num_batched_tokens);
  keys.set_if("engine.block_size", row.block_size);
  try {
    setup.scenario = load_scenario_text(kBase, row.id, ".", keys.list());
  } catch (const InputError& error) {
    const Diagnostic& first = error.diagnostics().front();
    setup.problem = fmt::format("{}: {}", first.key, first.problem);
    return setup;
  }
  ModelSpec& model = setup.scenario->model;
  setup.problem = set_weights(model, row.weight_dtype, setup.assumed);
  if (setup.problem.empty()) setup.problem = set_kv(model, row.kv_dtype);
  if (setup.problem.empty()) setup.problem = set_parallel(*setup.scenario, row, setup.assumed);
  // Kernels of older cards pad MXFP4 (serving-semantics 2.3), so its size depends on the card.
  if (setup.problem.empty() && !system && model.precisions.experts == NumberFormat::kMxfp4)
    setup.problem = setup.card_problem + ", and the size of MXFP4 weights depends on it";
  return setup;
}

}  // namespace moesim
