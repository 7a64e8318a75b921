#include "sim/validation/serving_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "scenarios/other_defaults.h"
#include "sim/validation/published_formats.h"
#include "sim/validation/published_names.h"
#include "sim/validation/serving_layout.h"
#include "sim/validation/serving_recipes.h"

namespace moesim {
namespace {

/// InferenceX's image of its launches with multi-token prediction (dsr1-*-b200-trt-mtp, in its
/// changelog); those without it have rc6.post2.
constexpr const char* kDraftingImage = "1.2.0rc6.post3";

std::string first_problem(const ServingRow& row) {
  if (!row.unclear.empty()) return fmt::format("{}", fmt::join(row.unclear, "; "));
  if (row.measured.empty()) return "none of our metrics was measured";
  std::string layout = layout_of(row).problem;
  if (row.disagg && !layout.empty()) return layout;
  if (has_drafts(row)) return "speculative decoding is not modelled yet";
  const std::string backend = backend_of(row.engine);
  if (backend == "trtllm" && without_marks(row.version).starts_with(kDraftingImage)) {
    return fmt::format(
        "image {} was launched with multi-token prediction only, which is not "
        "modelled yet",
        kDraftingImage);
  }
  if (backend.empty()) return "engine not stated";
  if (backend != "vllm" && backend != "sglang" && backend != "trtllm")
    return fmt::format("engine {} is not modelled", without_remark(row.engine));
  if (row.model.empty()) return "model not stated";
  if (row.gpu.empty()) return "GPU not stated";
  return layout;
}

/// What an engine calls its limits.
struct LimitNames {
  const char *memory, *batch, *tokens;
};
LimitNames limits_of(const std::string& backend) {
  if (backend == "sglang")
    return {"engine.mem_fraction_static", "engine.max_running_requests",
            "engine.chunked_prefill_size"};
  if (backend == "trtllm")
    return {"engine.free_gpu_memory_fraction", "engine.max_batch_size", "engine.max_num_tokens"};
  return {"engine.gpu_memory_utilization", "engine.max_num_seqs", "engine.max_num_batched_tokens"};
}

/// A release of the V0 engine, vLLM before 0.9: whole prompts, unless asked otherwise.
bool is_v0(const std::string& backend, const std::string& group) {
  return backend == "vllm" && group.find("before") != std::string::npos;
}

/// "max_model_len 4096" in the remarks.
std::optional<int> stated_length(const std::string& notes) {
  constexpr std::string_view kWords = "max_model_len ";
  const std::size_t at = notes.find(kWords);
  if (at == std::string::npos) return std::nullopt;
  const int length = std::atoi(notes.c_str() + at + kWords.size());
  return length > 0 ? std::optional(length) : std::nullopt;
}

/// Copies of the most used experts in place from the start, as in SGLang's published deployment:
/// 32 of them (LMSYS, "Deploying DeepSeek with PD disaggregation and large-scale EP", 2025-05).
void set_eplb(ServingPlan& plan) {
  plan.keys.set("placement",
                "{eplb: {num_redundant_experts: 32, init_expert_location: routing, "
                "step_interval: 0}}");
  plan.assumed.emplace_back("32 redundant experts");
  // Balanced for what real tokens chose: sequences of their own favourites leave ranks uneven in
  // every step, which even routing would not.
  plan.keys.set("routing", "{kind: latent_logit}");
  plan.assumed.emplace_back("tokens choose as recorded ones of gpt-oss-20b (latent_logit)");
}

/// gpt-oss is routed as unevenly as recorded: shared/data/traces/routing/gpt_oss_20b_tokens.mrt has
/// loads of coefficient of variation 0.76 (`moesim routing stats`, mean over layers), which is that
/// of a lognormal of sigma sqrt(ln(1 + 0.76^2)). No row says what its routers did.
void set_recorded_spread(ServingPlan& plan) {
  if (plan.model.find("gpt-oss") == std::string::npos) return;
  plan.keys.set("routing", "{kind: lognormal, sigma: 0.68}");
  plan.assumed.emplace_back("experts as unevenly loaded as recorded for gpt-oss-20b");
}

/// The last value a key was set to, as a number; nothing if it was not.
std::optional<int> number_in(const ScenarioKeys& keys, const std::string& path) {
  std::optional<int> value;
  for (const Override& key : keys.list()) {
    if (key.path == path) value = std::atoi(key.value.c_str());
  }
  return value;
}

bool chunks_prompts(const ScenarioKeys& keys) {
  return std::ranges::any_of(keys.list(), [](const Override& key) {
    return key.path == "engine.enable_chunked_prefill" && key.value == "true";
  });
}

/// An engine without chunks refuses prompts beyond `max_num_tokens`. One that was measured had room
/// for its prompts, so where the row states no limit it was built with more than the usual one: as
/// the launch scripts that compute it have it, for one prompt beside the decodes of a full batch.
/// With less, no prompt would start while others decode.
void make_room_for_prompts(const ServingRow& row, ServingPlan& plan) {
  constexpr int kMargin = 64;
  const char* const key = "engine.max_num_tokens";
  if (row.max_batched_tokens || !row.isl || chunks_prompts(plan.keys)) return;
  const int longest = static_cast<int>(std::lround(*row.isl));
  if (longest <= number_in(plan.keys, key).value_or(kTrtllmBatch.max_num_batched_tokens)) return;
  int batch = number_in(plan.keys, "engine.max_batch_size").value_or(kTrtllmBatch.max_num_seqs);
  if (plan.load.together > 0) batch = std::min(batch, plan.load.together);
  const int room = (longest + batch + kMargin - 1) / kMargin * kMargin;
  plan.keys.set(key, room);
  plan.assumed.push_back(
      fmt::format("max_num_tokens {}: the longest prompt beside a full batch", room));
}

/// The row's own, else the recipe's, else the checkpoint's.
void set_kv_format(const ServingRow& row, const std::string& backend, const std::string& recipe_kv,
                   ServingPlan& plan) {
  const bool kv_is_open = kv_format_of(row.kv_dtype).empty();
  plan.kv_dtype = kv_is_open && !recipe_kv.empty() ? recipe_kv : row.kv_dtype;
  plan.kv_of_checkpoint = kv_is_open && recipe_kv.empty() && backend == "trtllm";
}

void set_limits(const ServingRow& row, const ServingLayout& layout, const std::string& backend,
                ServingPlan& plan) {
  const LimitNames names = limits_of(backend);
  plan.keys.set_if(names.memory, row.memory_fraction);
  // SGLang's limits are of the whole engine, the others' of one data-parallel rank.
  const int share = row.limits_per_gpu && backend == "sglang" ? layout.data : 1;
  if (row.max_batch) plan.keys.set(names.batch, *row.max_batch * share);
  if (row.max_batched_tokens) plan.keys.set(names.tokens, *row.max_batched_tokens * share);
  if (backend == "trtllm") make_room_for_prompts(row, plan);
}

/// V0 takes whole prompts unless asked otherwise, and then refuses to start with steps shorter than
/// its longest request. One that was measured did start.
void set_v0_prompts(const ServingRow& row, std::optional<int> stated_length, ServingPlan& plan) {
  const char* const chunks = "engine.enable_chunked_prefill";
  const int longest = static_cast<int>(std::lround(row.isl.value_or(0) + row.osl.value_or(0)));
  if (!row.max_batched_tokens) return plan.keys.set(chunks, false);
  if (stated_length.value_or(longest) > *row.max_batched_tokens) {
    plan.assumed.emplace_back("prompts in chunks: a step is shorter than the longest request");
    return plan.keys.set(chunks, true);
  }
  plan.keys.set(chunks, false);
  if (stated_length) return;
  plan.assumed.emplace_back("max_model_len as long as the longest request");
  plan.keys.set("engine.max_model_len", longest);
}

void set_engine(const ServingRow& row, const ServingLayout& layout, const std::string& backend,
                ServingPlan& plan) {
  const PublishedRelease release = release_of(backend, row.version, row.date);
  plan.engine = engine_group(backend, release.version);
  if (backend != "vllm") plan.keys.set("engine.backend", backend);
  if (!release.version.empty())
    plan.keys.set("engine.backend_version", fmt::format("'{}'", release.version));
  if (release.from_date) plan.assumed.push_back(fmt::format("release {} by date", release.version));
  if (release.version.empty()) plan.assumed.emplace_back("newest release");
  const bool stated = !weight_format_of(row.weight_dtype).empty();
  plan.weight_dtype = stated ? row.weight_dtype : format_in_name(row.model);
  const std::string recipe_kv = apply_recipe(row,
                                             {.backend = backend,
                                              .release = release.version,
                                              .model = plan.model,
                                              .system = plan.system,
                                              .weight_dtype = plan.weight_dtype,
                                              .concurrency = plan.load.together},
                                             plan.keys, plan.assumed);
  set_kv_format(row, backend, recipe_kv, plan);
  set_limits(row, layout, backend, plan);
  if (layout.wide() && row.notes.find("EPLB") != std::string::npos) set_eplb(plan);
  const std::optional<int> length = stated_length(row.notes);
  plan.keys.set_if("engine.max_model_len", length);
  plan.length_is_free = !length;
  if (backend == "vllm" && !row.prefix_cache.empty())
    plan.keys.set("engine.enable_prefix_caching", row.prefix_cache == "on");
  if (is_v0(backend, plan.engine)) set_v0_prompts(row, length, plan);
  if (!row.smaller_fraction) return;
  plan.smaller = plan.keys;
  plan.smaller->set(limits_of(backend).memory, *row.smaller_fraction);
}

}  // namespace

std::string ServingPlan::key() const {
  std::string text = fmt::format("{}|{}|{}|{}|{}", weight_dtype, kv_dtype, kv_of_checkpoint,
                                 length_is_free, load.steady);
  if (load.repeated) {
    text += fmt::format("|{}x{} {}", load.repeated->groups, load.repeated->prompts_per_group,
                        load.repeated->system_tokens);
  }
  for (const Override& key : keys.list()) text += fmt::format("\n{}={}", key.path, key.value);
  if (smaller) text += "\nor " + smaller->list().back().value;
  return text;
}

const std::optional<std::string>& ServingTranslator::model(const std::string& published) {
  const auto found = models_.find(published);
  if (found != models_.end()) return found->second;
  return models_.emplace(published, shipped_model_of(published)).first->second;
}

const ServingTranslator::Card& ServingTranslator::card(const std::string& published) {
  const auto found = cards_.find(published);
  if (found != cards_.end()) return found->second;
  Card card{shipped_system_of(published), published.find("assumed") != std::string::npos};
  if (!card.system) {
    card.system = likely_system_of(published);
    card.assumed = card.system.has_value();
  }
  return cards_.emplace(published, card).first->second;
}

ServingPlan ServingTranslator::plan(const ServingRow& row) {
  ServingPlan plan;
  plan.problem = first_problem(row);
  if (!plan.problem.empty()) return plan;
  const std::optional<std::string>& shipped = model(row.model);
  const Card& on = card(row.gpu);
  if (!shipped) plan.problem = fmt::format("model {} is not shipped", without_remark(row.model));
  if (!on.system) plan.problem = fmt::format("GPU {} is not shipped", without_remark(row.gpu));
  if (!plan.problem.empty()) return plan;
  plan.model = *shipped;
  plan.system = *on.system;
  if (on.assumed) plan.assumed.push_back("card " + plan.system);
  plan.keys.set("model", plan.model);
  const ServingLayout layout = layout_of(row);
  plan.load = set_load(row, layout, plan.keys);
  plan.problem = plan.load.problem;
  if (!plan.problem.empty()) return plan;
  plan.assumed.insert(plan.assumed.end(), plan.load.assumed.begin(), plan.load.assumed.end());
  const std::string backend = backend_of(row.engine);
  plan.layout = layout_group(layout, row);
  plan.assumed.insert(plan.assumed.end(), layout.assumed.begin(), layout.assumed.end());
  set_layout(layout, row, backend, plan.system, plan.keys);
  set_recorded_spread(plan);
  set_engine(row, layout, backend, plan);
  return plan;
}

namespace {

/// Whether weights are stored as in NVIDIA's ModelOpt checkpoints whose hf_quant_config.json says
/// `kv_cache_quant_algo: FP8` (Qwen3-32B-NVFP4 and others; not DeepSeek's, which say null).
bool has_fp8_kv(const ModelSpec& model) {
  const NumberFormat format =
      model.is_moe() ? model.precisions.experts : model.precisions.dense_ffn;
  return !model.is_mla() && (format == NumberFormat::kFp8 || format == NumberFormat::kNvfp4);
}

/// Stores weights and KV as the plan says; returns why that is impossible, or nothing.
std::string store(const ServingPlan& plan, ModelSpec& model, std::vector<std::string>& assumed) {
  std::string problem = store_weights(model, plan.weight_dtype, assumed);
  if (!problem.empty()) return problem;
  if (plan.kv_of_checkpoint && has_fp8_kv(model)) {
    assumed.emplace_back("fp8 KV, as in the vendor's checkpoints");
    return store_kv(model, "fp8");
  }
  return store_kv(model, plan.kv_dtype);
}

ServingOutcome attempt(const ServingPlan& plan, const ScenarioKeys& keys) {
  ServingOutcome outcome;
  ScenarioOrProblem loaded = load_with(keys, plan.model);
  outcome.run.problem = loaded.problem;
  if (!loaded.scenario) return outcome;
  Scenario& scenario = *loaded.scenario;
  outcome.run.problem = store(plan, scenario.model, outcome.assumed);
  if (!outcome.run.problem.empty()) return outcome;
  if (plan.load.steady) {
    for (InstanceSpec& instance : scenario.instances) instance.engine.profile.api = {};
  }
  PredictOptions options{.workload = nullptr, .length_is_free = plan.length_is_free};
  Workload workload;
  if (plan.load.repeated) {
    workload = make_workload(scenario.workload, scenario.seed);
    repeat_prompts(workload, *plan.load.repeated);
    options.workload = &workload;
  }
  outcome.run = predict(scenario, options);
  if (outcome.run.problem.empty()) {
    PredictOptions slow = options;
    slow.noise.fill(1);
    outcome.slow = predict(scenario, slow);
  }
  if (!outcome.run.assumed.empty()) outcome.assumed.push_back(outcome.run.assumed);
  return outcome;
}

}  // namespace

ServingOutcome carry_out(const ServingPlan& plan) {
  ServingOutcome outcome = attempt(plan, plan.keys);
  if (!plan.smaller || !outcome.run.infeasible) return outcome;
  outcome = attempt(plan, *plan.smaller);
  outcome.assumed.emplace_back("less memory for KV: the usual share does not fit");
  return outcome;
}

}  // namespace moesim
