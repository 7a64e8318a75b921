#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <string_view>

#include "scenarios/layout.h"
#include "scenarios/load_parts.h"

// What an engine has kernels for: number formats on a card, and experts by `moe_backend`. Sources:
// support matrices of TensorRT-LLM (precisions by GPU; FP8 from Ada on, NVFP4 on Blackwell, MXFP4
// weights from Hopper on, no GGUF), vLLM's table of supported hardware (Marlin for FP8 and FP4
// where the card does not multiply them), SGLang pull requests 19652, 22047 and 25655 (the same for
// NVFP4, taken back and done again in 2026; before, it refuses).

namespace moesim {
namespace {

constexpr int kAda = 89, kHopper = 90, kBlackwell = 100, kWorkstation = 120;

struct Rules {
  const ValidateInputs& inputs;
  LoadContext& context;
};

const char* product_name(std::string_view backend) {
  if (backend == "trtllm") return "TensorRT-LLM";
  return backend == "sglang" ? "SGLang" : "vLLM";
}

/// What an engine needs to run a format that it cannot run on the card; empty if it can.
std::string missing(const EngineSpec& engine, int sm, NumberFormat format) {
  const bool fp8 = format == NumberFormat::kFp8 || format == NumberFormat::kFp8Block;
  const EngineProfile& profile = engine.profile;
  if (fp8 && sm < kAda && !profile.weight_only_fp8) return "a card with fp8 (Ada or later)";
  if (format == NumberFormat::kNvfp4 && sm < kBlackwell && !profile.weight_only_fp4)
    return "a card with fp4 (Blackwell)";
  if (engine.backend != "trtllm") return "";
  if (format == NumberFormat::kMxfp4 && sm < kHopper) return "Hopper or a later card";
  return format == NumberFormat::kQ4KM ? "another format: it reads no GGUF files" : "";
}

/// Where the format of a part was said: the key that a mistake stands at.
const char* format_key(Reader& root, bool experts) {
  Reader precision = root.map_or_empty("precision"), engine = root.map_or_empty("engine");
  const auto given = [](Reader& in, const char* key) {
    return in.has(key) && in.raw(key) != "auto";
  };
  if (experts && given(precision, "experts")) return "precision.experts";
  if (given(precision, "weights")) return "precision.weights";
  return given(engine, "quantization") ? "engine.quantization" : "model";
}

/// Weights in a format the engine has no kernels for on the card are refused, as the engine does.
void check_formats(const Rules& rules, const EngineSpec& engine, const SystemSpec& system) {
  const ModelSpec& model = rules.inputs.scenario.model;
  const Precisions& parts = model.precisions;
  struct Part {
    NumberFormat format;
    bool experts;
  };
  std::vector<Part> list{
      {parts.attention, false}, {parts.dense_ffn, false}, {parts.lm_head, false}};
  if (model.is_moe())
    list.insert(list.begin(), {{parts.experts, true}, {parts.shared_experts, false}});
  for (const Part& part : list) {
    const std::string needs = missing(engine, system.gpu.sm_version, part.format);
    if (needs.empty()) continue;
    const std::string problem = fmt::format("{} {} does not run {} weights on {}: they need {}",
                                            product_name(engine.backend), engine.profile.version,
                                            to_text(part.format), system.name, needs);
    const char* hint = part.format == NumberFormat::kQ4KM
                           ? "write awq_int4 or gptq_int4, or backend: vllm"
                           : "write another format or card, or backend: vllm, which unpacks them";
    Reader& root = rules.inputs.root;
    return root.fail(format_key(root, part.experts), problem, hint);
  }
}

/// What speaks against the kernels `moe_backend` names, and what to write instead.
struct Objection {
  std::string problem, hint;
};

Objection objection(const EngineSpec& engine, const SystemSpec& system, NumberFormat experts) {
  const std::string& name = engine.moe_backend;
  const int sm = system.gpu.sm_version;
  const std::string format = to_text(experts);
  const bool trtllm = engine.backend == "trtllm";
  if (trtllm && (name == "triton" || name == "marlin"))
    return {fmt::format("TensorRT-LLM has no {} experts", name),
            "use cutlass, deepgemm or trtllm_gen"};
  const bool wide = payload_bits(experts) >= 16;
  if (name == "marlin" && wide)
    return {fmt::format("Marlin unpacks weights of 4 or 8 bits, and those of the experts are {}",
                        format),
            "leave it out, or write precision.experts: fp8, gptq_int4 ..."};
  if (name == "deepgemm" && experts != NumberFormat::kFp8Block)
    return {
        fmt::format("DeepGEMM multiplies fp8 in blocks of 128x128, and the experts are {}", format),
        "leave it out, or write precision.experts: fp8_block"};
  if (name == "deepgemm" && sm < kHopper)
    return {fmt::format("DeepGEMM needs Hopper or a later card, and this is {}", system.name),
            trtllm ? "use cutlass" : "use triton or marlin"};
  if (name == "trtllm_gen" && (sm < kBlackwell || sm >= kWorkstation))
    return {fmt::format("TensorRT-LLM's generated kernels are for B200 and its kin, and this is {}",
                        system.name),
            trtllm ? "use cutlass" : "use triton, cutlass or marlin"};
  return {};
}

/// Kernels of the experts that a scenario names exist, and have something to do.
void check_backend(const Rules& rules, const EngineSpec& engine, const EngineKeys& keys,
                   const SystemSpec& system) {
  if (!keys.moe_backend || engine.moe_backend == "auto") return;
  const ModelSpec& model = rules.inputs.scenario.model;
  const Objection against = model.is_moe()
                                ? objection(engine, system, model.precisions.experts)
                                : Objection{"has no effect on a dense model", "leave it out"};
  if (!against.problem.empty())
    fail(rules.context, keys.moe_backend, against.problem, against.hint);
}

}  // namespace

void check_kernels(const ValidateInputs& inputs, LoadContext& context) {
  const Rules rules{inputs, context};
  const std::vector<NodeGroup>& nodes = inputs.scenario.cluster.nodes;
  const Layout layout = lay_out(inputs.scenario.cluster, inputs.scenario.instances);
  const auto last = static_cast<int>(nodes.size()) - 1;
  for (std::size_t i = 0; i < inputs.scenario.instances.size(); ++i) {
    const InstanceSpec& entry = inputs.scenario.instances[i];
    const int node = layout.node[i] >= 0 ? layout.node[i] : std::clamp(entry.node, 0, last);
    const SystemSpec& system = nodes[static_cast<std::size_t>(node)].system;
    check_formats(rules, entry.engine, system);
    check_backend(rules, entry.engine, inputs.engines[i], system);
  }
}

}  // namespace moesim
