// Which measured kernels stand for an engine's, where it has a choice.
#include "sim/steptime/kernel_names.h"

#include <doctest/doctest.h>
#include <memory>
#include <string>

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

FoundCurve experts_of(const KernelChoice& choice, NumberFormat weights) {
  const KernelNames names = expert_kernels(choice, weights, true);
  return KernelLibrary(choice).find("moe", names.kernels, names.dtypes);
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
