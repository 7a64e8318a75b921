#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <utility>

#include "models/hf_config.h"
#include "scenarios/load_parts.h"

namespace moesim {
namespace {

const std::vector<std::string> kWeightFormats = {"auto",      "bf16",  "fp16",     "fp8",
                                                 "fp8_block", "int8",  "awq_int4", "gptq_int4",
                                                 "q4_k_m",    "mxfp4", "nvfp4"};
const std::vector<std::string> kKvFormats = {"auto", "bf16", "fp16", "fp8"};

using Names = std::map<std::string, std::string>;

/// vLLM's names for what `precision` calls by ours (vLLM --dtype, --quantization,
/// --kv-cache-dtype).
const Names kDtypes = {{"auto", "auto"}, {"bfloat16", "bf16"}, {"float16", "fp16"},
                       {"half", "fp16"}, {"bf16", "bf16"},     {"fp16", "fp16"}};
const Names kQuantizations = {{"auto", "auto"},           {"fp8", "fp8"},
                              {"fp8_block", "fp8_block"}, {"int8", "int8"},
                              {"awq", "awq_int4"},        {"awq_int4", "awq_int4"},
                              {"awq_marlin", "awq_int4"}, {"gptq", "gptq_int4"},
                              {"gptq_int4", "gptq_int4"}, {"gptq_marlin", "gptq_int4"},
                              {"gguf", "q4_k_m"},         {"q4_k_m", "q4_k_m"},
                              {"mxfp4", "mxfp4"},         {"modelopt_fp4", "nvfp4"},
                              {"nvfp4", "nvfp4"}};
const Names kKvDtypes = {{"auto", "auto"},    {"bfloat16", "bf16"}, {"bf16", "bf16"},
                         {"float16", "fp16"}, {"fp16", "fp16"},     {"fp8", "fp8"},
                         {"fp8_e4m3", "fp8"}, {"fp8_e5m2", "fp8"}};

std::vector<std::string> keys_of(const Names& names) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : names) keys.push_back(key);
  return keys;
}

/// `precision.<key>` or its vLLM spelling: giving both is a mistake.
std::string either(const Given<std::string>& ours, const Given<std::string>& theirs,
                   const Names& names, LoadContext& context) {
  if (!theirs) return ours.value.value_or("auto");
  const auto found = names.find(*theirs.value);
  if (found == names.end()) {
    fail(context, theirs, "unknown choice '" + *theirs.value + "'",
         nearest_name_hint(*theirs.value, keys_of(names)));
    return "auto";
  }
  if (ours)
    fail(context, theirs, "means the same as " + ours.key + ", which is given too",
         "keep one of the two");
  return ours.value.value_or(found->second);
}

/// "./x", "/x" or "x/config.json" is meant as a file; "Qwen/Qwen3-30B-A3B" may be an id.
bool is_path(const std::string& name) {
  return name.starts_with('.') || name.starts_with('/') || name.ends_with(".json");
}

/// Loads each model once in a load, however many variants ask for it.
std::optional<ModelSpec> find_model(Reader& root, LoadContext& context) {
  const std::string key = "model";
  const std::string name = root.text(key);
  if (name.empty()) return std::nullopt;  // reported already
  const Where where = root.where(key);
  const std::filesystem::path folder = context.folder(where);
  const std::string cached = folder.string() + "\n" + name;
  const auto found = context.cache.models.find(cached);
  if (found != context.cache.models.end()) return found->second;
  std::error_code none;
  if (is_path(name) && !std::filesystem::exists(folder / name, none)) {
    root.fail(key,
              fmt::format("there is no file '{}'", (folder / name).lexically_normal().string()),
              "paths in a scenario start at its folder, paths of --set at the current one");
    return std::nullopt;
  }
  try {
    return context.cache.models.emplace(cached, load_model(name, folder, where)).first->second;
  } catch (const InputError& error) {
    context.report(error, root, key);
    return std::nullopt;
  }
}

Given<std::string> read_format(Reader& in, const std::string& key,
                               const std::vector<std::string>& allowed) {
  Given<std::string> result;
  result.key = in.path(key);
  result.where = in.where(key);
  if (in.has(key)) result.value = in.choice_or(key, allowed, "auto");
  return result;
}

/// Records the format a part ends up with, and whose word it was.
void record(const std::string& key, const std::string& format, const Given<std::string>& ours,
            const Given<std::string>& theirs, LoadContext& context) {
  const Given<std::string>& given = theirs ? theirs : ours;
  const bool explicit_format = given && *given.value != "auto";
  context.resolve(key, format, explicit_format ? context.source(given.where) : "config.json");
}

}  // namespace

std::optional<ModelSpec> read_model(Reader& root, const EngineKeys& engine, LoadContext& context) {
  Reader precision = root.map_or_empty("precision");
  const Given<std::string> weights = read_format(precision, "weights", kWeightFormats);
  const Given<std::string> experts = read_format(precision, "experts", kWeightFormats);
  const Given<std::string> kv = read_format(precision, "kv_cache", kKvFormats);
  precision.reject_unknown_keys();

  PrecisionOverrides overrides;
  // vLLM's dtype is the format of the weights unless they are quantised; then only activations have
  // it.
  const Given<std::string>& theirs = engine.quantization ? engine.quantization : engine.dtype;
  overrides.weights =
      either(weights, theirs, engine.quantization ? kQuantizations : kDtypes, context);
  overrides.experts = experts.value.value_or("auto");
  overrides.kv_cache = either(kv, engine.kv_cache_dtype, kKvDtypes, context);

  std::optional<ModelSpec> model = find_model(root, context);
  if (!model) return std::nullopt;
  apply_precision(*model, overrides);
  if (engine.quantization && engine.dtype) {
    const std::string dtype = either({}, engine.dtype, kDtypes, context);
    if (dtype == "bf16") model->precisions.activation = NumberFormat::kBf16;
    if (dtype == "fp16") model->precisions.activation = NumberFormat::kFp16;
  }
  context.resolve("model", model->id, context.source(root.where("model")));
  record("precision.weights", to_text(model->precisions.attention), weights, theirs, context);
  record("precision.experts", to_text(model->precisions.experts), experts ? experts : weights,
         theirs, context);
  record("precision.kv_cache", to_text(model->precisions.kv_cache), kv, engine.kv_cache_dtype,
         context);
  return model;
}

LoraSpec read_lora(Reader& root) {
  Reader in = root.map_or_empty("lora");
  LoraSpec lora;
  lora.adapters = static_cast<int>(in.integer_or("adapters", 0, {.min = 0, .max = 10000}));
  lora.rank = static_cast<int>(in.integer_or("rank", lora.rank, {.min = 1, .max = 1024}));
  const std::vector<std::string> targets = {"attention", "all_linear", "experts", "hot_experts"};
  const std::string target = in.choice_or("targets", targets, "attention");
  lora.targets = static_cast<LoraTargets>(std::ranges::find(targets, target) - targets.begin());
  const bool hot = lora.targets == LoraTargets::kHotExperts;
  if (hot && !in.has("hot_experts")) {
    in.fail("hot_experts", "required key is missing",
            "write how many experts a layer have an adapter, e.g. hot_experts: 2");
  }
  lora.hot_experts = static_cast<int>(in.integer_or("hot_experts", 0, {.min = 1, .max = 4096}));
  if (!hot && in.has("hot_experts") && !in.faulty("targets")) {
    in.fail("hot_experts", "has no effect with targets: " + target,
            "write targets: hot_experts, or leave it out");
  }
  for (const char* key : {"rank", "targets", "hot_experts"}) {
    if (lora.adapters == 0 && in.has(key) && !in.faulty("adapters")) {
      in.fail(key, "has no effect without adapters", "write adapters: N, or leave lora out");
    }
  }
  in.reject_unknown_keys();
  return lora;
}

}  // namespace moesim
