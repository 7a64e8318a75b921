// Which measured kernels stand for an engine's, where it has a choice.
#include "sim/steptime/kernel_names.h"

#include <doctest/doctest.h>
#include <memory>
#include <string>

#include "hardware/dtypes.h"
#include "sim/steptime/measured.h"

namespace moesim {
namespace {

class NoFallback final : public KernelModel {
 public:
  KernelTime time(const Op&) const override { return {Seconds(1), Provenance::kRoofline}; }
};

KernelChoice choice_of(const std::string& system, const std::string& framework) {
  KernelChoice choice;
  choice.system = system;
  choice.sm_version = load_system(system, "", {}).gpu.sm_version;
  choice.framework = framework;
  return choice;
}

FoundCurve experts_of(const KernelChoice& choice, NumberFormat weights, bool gated = true) {
  return find_experts(KernelLibrary(choice), choice, weights, gated);
}

/// What `moe_backend` calls a kernel of the tables.
std::string backend_of(const KernelChoice& choice, const std::string& kernel) {
  if (kernel == "nongated") return "cutlass";
  if (kernel != "default") return kernel;
  return choice.sm_version < 100 ? "cutlass" : "trtllm_gen";
}

const std::string kSystems[] = {"a100_sxm", "l40s", "h100_sxm", "h200_sxm", "b200_sxm"};
const std::string kFrameworks[] = {"vllm", "sglang", "trtllm"};
const std::string kBackends[] = {"triton", "cutlass", "deepgemm", "trtllm_gen", "marlin"};
constexpr NumberFormat kFormats[] = {
    NumberFormat::kBf16, NumberFormat::kFp8,      NumberFormat::kFp8Block,
    NumberFormat::kInt8, NumberFormat::kGptqInt4, NumberFormat::kInt4Group32,
    NumberFormat::kQ4KM, NumberFormat::kMxfp4,    NumberFormat::kNvfp4};

/// Names of a format in the tables that are the format itself. Scaled per tensor or by blocks, fp8
/// is one Triton kernel.
bool is_format(const std::string& dtype, const std::string& kernel, NumberFormat weights) {
  switch (weights) {
    case NumberFormat::kBf16:
      return dtype == "bfloat16";
    case NumberFormat::kFp8:
      return dtype == "fp8" || (dtype == "fp8_block" && kernel == "triton");
    case NumberFormat::kFp8Block:
      return dtype == "fp8_block";
    case NumberFormat::kGptqInt4:
    case NumberFormat::kInt4Group32:
      return dtype == "int4_wo";
    case NumberFormat::kMxfp4:
      return dtype == "w4a16_mxfp4" || dtype == "w4a8_mxfp4_mxfp8";
    case NumberFormat::kNvfp4:
      return dtype == "nvfp4";
    default:
      return false;  // no table of experts has int8 or GGUF
  }
}

bool is_kernel(const KernelChoice& choice, const FoundCurve& found, const std::string& backend) {
  return backend_of(choice, found.curve->kernel) == backend;
}

bool is_own(const KernelChoice& choice, const FoundCurve& found) {
  return found.profile.starts_with(choice.system + "/" + choice.framework + "-");
}

/// A rank of DeepSeek-V3's experts, EP32: each of its 8 experts has `rows` tokens.
Op eight_experts(std::int64_t rows) {
  Op op;
  op.kind = OpKind::kGroupedGemm;
  op.weight_format = NumberFormat::kFp8Block;
  op.tokens = static_cast<int>(rows);
  op.m = 8 * rows;
  op.n = 2048;
  op.k = 7168;
  op.active_experts = op.experts = 8;
  op.above_64 = 8 * std::max<std::int64_t>(0, rows - 64);
  op.above_256 = 8 * std::max<std::int64_t>(0, rows - 256);
  op.total_experts = 256;
  op.top_k = 8;
  return op;
}

double us(const KernelChoice& choice, const Op& op) {
  Precisions precisions;
  precisions.experts = NumberFormat::kFp8Block;
  const Measured measured(choice, load_system(choice.system, "", {}), precisions, 1,
                          std::make_unique<NoFallback>(), {});
  return measured.time(op).time.value() * 1e6;
}

}  // namespace

TEST_CASE("DeepGEMM stands behind DeepEP's messages, and nowhere else") {
  KernelChoice choice = choice_of("h100_sxm", "sglang");
  const NumberFormat blocks = NumberFormat::kFp8Block;
  CHECK(deepgemm_layout(choice, blocks).empty());
  choice.all2all = "deepep_high_throughput";
  CHECK(deepgemm_layout(choice, blocks) == "context");
  choice.all2all = "deepep_low_latency";
  CHECK(deepgemm_layout(choice, blocks) == "generation");
  CHECK(deepgemm_layout(choice, NumberFormat::kBf16).empty());
  choice.moe_backend = "triton";
  CHECK(deepgemm_layout(choice, blocks).empty());
  choice.moe_backend = "auto";
  choice.framework = "trtllm";
  CHECK(deepgemm_layout(choice, blocks).empty());
}

TEST_CASE("its table counts the tokens of all ranks: 4,096 over 32 are 128 an expert") {
  KernelChoice choice = choice_of("h100_sxm", "sglang");
  choice.all2all = "deepep_low_latency";
  // Measured (masked, uniform, EP32): 162 us at 4096 tokens, 8 experts of 44 MB, of which a seventh
  // fits the L2 cache that a run finds cold.
  const double time = us(choice, eight_experts(128));
  CHECK(time > 162);
  CHECK(time < 162 * 1.2);
}

TEST_CASE("moe_backend names the kernels of the experts") {
  struct Case {
    std::string backend;
    NumberFormat weights;
    std::string kernel, dtype;
  };
  const Case cases[] = {
      {"auto", NumberFormat::kNvfp4, "default", "w4a8_mxfp4_mxfp8"},
      {"cutlass", NumberFormat::kNvfp4, "cutlass", "nvfp4"},
      {"deepgemm", NumberFormat::kFp8Block, "deepgemm", "fp8_block"},
      {"trtllm_gen", NumberFormat::kFp8Block, "default", "w4a8_mxfp4_mxfp8"},
      {"triton", NumberFormat::kFp8Block, "triton", "fp8_block"},
      {"marlin", NumberFormat::kGptqInt4, "marlin", "int4_wo"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.backend);
    KernelChoice choice = choice_of("b200_sxm", "vllm");
    choice.moe_backend = c.backend;
    const FoundCurve found = experts_of(choice, c.weights);
    REQUIRE(found.curve != nullptr);
    CHECK(found.curve->kernel == c.kernel);
    CHECK(found.curve->dtype == c.dtype);
  }
}

TEST_CASE("the kernel an engine would take costs the same when it is named") {
  int compared = 0;
  for (const std::string& system : kSystems) {
    for (const std::string& framework : kFrameworks) {
      for (const NumberFormat weights : kFormats) {
        for (const bool gated : {true, false}) {
          KernelChoice choice = choice_of(system, framework);
          const FoundCurve usual = experts_of(choice, weights, gated);
          REQUIRE(usual.curve != nullptr);
          choice.moe_backend = backend_of(choice, usual.curve->kernel);
          // TensorRT-LLM has no Marlin: the loader refuses it, the table of SGLang stands in.
          if (framework == "trtllm" && choice.moe_backend == "marlin") continue;
          CAPTURE(system);
          CAPTURE(framework);
          CAPTURE(to_text(weights));
          CAPTURE(gated);
          CAPTURE(choice.moe_backend);
          const FoundCurve named = experts_of(choice, weights, gated);
          REQUIRE(named.curve != nullptr);
          CHECK(named.profile == usual.profile);
          CHECK(named.curve->kernel == usual.curve->kernel);
          CHECK(named.curve->dtype == usual.curve->dtype);
          CHECK(named.donor == usual.donor);
          CHECK(named.extra_spread == usual.extra_spread);
          ++compared;
        }
      }
    }
  }
  CHECK(compared > 200);
}

TEST_CASE("no kernel that stands in for another passes for measured") {
  int own = 0;
  for (const std::string& system : kSystems) {
    for (const std::string& framework : kFrameworks) {
      for (const std::string& backend : kBackends) {
        for (const NumberFormat weights : kFormats) {
          KernelChoice choice = choice_of(system, framework);
          choice.moe_backend = backend;
          const FoundCurve found = experts_of(choice, weights);
          REQUIRE(found.curve != nullptr);
          CAPTURE(system);
          CAPTURE(framework);
          CAPTURE(backend);
          CAPTURE(to_text(weights));
          CAPTURE(found.curve->kernel);
          CAPTURE(found.curve->dtype);
          const bool itself = is_own(choice, found) && is_kernel(choice, found, backend) &&
                              is_format(found.curve->dtype, found.curve->kernel, weights);
          if (!found.donor) CHECK(itself);
          CHECK((found.extra_spread > 0) == found.donor);
          own += found.donor ? 0 : 1;
        }
      }
    }
  }
  CHECK(own >= 20);  // what is measured still counts as measured
}

TEST_CASE("tables of experts without a gate price no experts with one") {
  // All of SGLang's rows of CUTLASS are of experts of two matrices (Nemotron-H).
  KernelChoice choice = choice_of("h100_sxm", "sglang");
  choice.moe_backend = "cutlass";
  CHECK(experts_of(choice, NumberFormat::kBf16).profile.starts_with("h100_sxm/trtllm"));
  CHECK(experts_of(choice, NumberFormat::kBf16).curve->kernel == "cutlass");
  CHECK(experts_of(choice, NumberFormat::kBf16).donor);
  CHECK(experts_of(choice, NumberFormat::kBf16, false).profile.starts_with("h100_sxm/sglang"));
  CHECK(experts_of(choice, NumberFormat::kBf16, false).curve->kernel == "cutlass");
}

TEST_CASE("weights that a card cannot multiply are unpacked by Marlin") {
  struct Case {
    std::string system, framework;
    NumberFormat weights;
    std::string kernel;
  };
  const Case cases[] = {
      {"a100_sxm", "vllm", NumberFormat::kFp8, "marlin"},
      {"a100_sxm", "sglang", NumberFormat::kFp8Block, "marlin"},
      {"h100_sxm", "vllm", NumberFormat::kNvfp4, "marlin"},
      {"h100_sxm", "vllm", NumberFormat::kInt4Group32, "marlin"},
      {"h100_sxm", "vllm", NumberFormat::kFp8, "triton"},
      {"b200_sxm", "vllm", NumberFormat::kNvfp4, "default"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.system);
    CAPTURE(to_text(c.weights));
    const FoundCurve found = experts_of(choice_of(c.system, c.framework), c.weights);
    REQUIRE(found.curve != nullptr);
    CHECK(found.curve->kernel == c.kernel);
  }
}

TEST_CASE("vLLM unpacked MXFP4 on Hopper until its images had Triton's kernels") {
  const auto kernel = [](const char* system, const char* framework, const char* version) {
    KernelChoice choice = choice_of(system, framework);
    choice.version = version;
    return experts_of(choice, NumberFormat::kMxfp4).curve->kernel;
  };
  CHECK(kernel("h100_sxm", "vllm", "0.11.0") == "marlin");
  CHECK(kernel("h100_sxm", "vllm", "0.11.2") == "triton");
  CHECK(kernel("h100_sxm", "vllm", "0.21") == "triton");
  CHECK(kernel("a100_sxm", "vllm", "0.21") == "marlin");
  CHECK(kernel("h100_sxm", "sglang", "0.5.3") == "triton");
  CHECK(kernel("b200_sxm", "vllm", "0.11.0") == "default");
}

TEST_CASE("portable kernels get a newer card's multiprocessors, not its tensor cores") {
  KernelChoice old = choice_of("h100_sxm", "vllm"), younger = choice_of("b200_sxm", "vllm");
  old.moe_backend = younger.moe_backend = "triton";
  const Op large = eight_experts(8192);
  // 148 against 132 multiprocessors; the tensor cores are 2.3 times as fast.
  CHECK(us(old, large) / us(younger, large) == doctest::Approx(148.0 / 132).epsilon(0.1));
}

TEST_CASE("fp8 products of TensorRT-LLM are scaled per tensor, as vLLM's") {
  const auto profile = [](NumberFormat weights) {
    const KernelChoice choice = product_choice(choice_of("h200_sxm", "trtllm"), weights);
    const KernelNames names = gemm_kernels(weights, choice.sm_version);
    return KernelLibrary(choice).find("gemm", names.kernels, names.dtypes).profile;
  };
  CHECK(profile(NumberFormat::kFp8).starts_with("h100_sxm/vllm"));
  CHECK(profile(NumberFormat::kBf16).starts_with("h200_sxm/sglang"));
}

TEST_CASE("8-bit keys and values cost half of 16-bit ones where kernels read them natively") {
  /// Long decodes of many sequences, in units of what 16-bit KV costs there.
  const auto share = [](const std::string& system, const std::string& framework) {
    const SystemSpec spec = load_system(system, "", {});
    const auto time = [&](NumberFormat kv) {
      const KernelChoice choice = choice_of(system, framework);
      const KernelNames names = decode_kernels(choice, kv);
      const FoundCurve found =
          KernelLibrary(choice).find("attention_generation", names.kernels, names.dtypes);
      REQUIRE(found.curve != nullptr);
      KernelShape shape;
      shape.batch = 128;
      shape.longest = 4096;
      shape.kv_tokens = shape.batch * shape.longest;
      shape.heads = 64;
      shape.kv_heads = 8;
      shape.head_dim = 128;
      shape.kv_bytes = kv == NumberFormat::kFp8 ? 1 : 2;
      return found.curve->at(shape, ceilings_of(spec, found.curve->dtype)).time.value();
    };
    return time(NumberFormat::kFp8) / time(NumberFormat::kBf16);
  };
  for (const char* framework : {"trtllm", "sglang", "vllm"})
    CHECK(share("b200_sxm", framework) == doctest::Approx(0.53).epsilon(0.06));
  CHECK(share("h200_sxm", "trtllm") == doctest::Approx(0.53).epsilon(0.06));
  CHECK(share("h200_sxm", "sglang") > 0.8);  // 48 % of the memory's rate against 89 %
}

TEST_CASE("SGLang's prompts expand keys and values; Blackwell runs TensorRT-LLM's kernels") {
  const auto profile = [](const std::string& system, const std::string& framework, bool prompts) {
    const KernelChoice choice = latent_choice(choice_of(system, framework), prompts);
    const KernelNames names = attention_kernels(NumberFormat::kBf16, true);
    return KernelLibrary(choice)
        .find(prompts ? "mla_context" : "mla_generation", names.kernels, names.dtypes, true)
        .profile;
  };
  CHECK(profile("h200_sxm", "sglang", true).starts_with("h200_sxm/trtllm"));
  CHECK(profile("h100_sxm", "sglang", false).starts_with("h100_sxm/sglang"));
  CHECK(profile("b200_sxm", "vllm", true).find("/trtllm") != std::string::npos);
  CHECK(profile("b200_sxm", "sglang", false).find("/trtllm") != std::string::npos);
}

}  // namespace moesim
