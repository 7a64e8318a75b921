#include "sim/steptime/measured.h"

#include <cmath>
#include <doctest/doctest.h>
#include <memory>
#include <string>
#include <vector>

#include "hardware/dtypes.h"
#include "sim/steptime/kernel_names.h"
#include "tests/sim/steptime/priced_steps.h"

namespace moesim {
namespace {

constexpr double kFallback = 1.0;  ///< seconds: no kernel takes as long

/// Answers everything with one second.
class Fallback final : public KernelModel {
 public:
  KernelTime time(const Op&) const override { return {Seconds(kFallback), Provenance::kRoofline}; }
};

Precisions all_in(NumberFormat format) {
  Precisions precisions;
  precisions.attention = precisions.dense_ffn = precisions.shared_experts = precisions.experts =
      format;
  return precisions;
}

KernelChoice choice_of(const SystemSpec& system, const std::string& framework) {
  KernelChoice choice;
  choice.system = system.name;
  choice.sm_version = system.gpu.sm_version;
  choice.framework = framework;
  return choice;
}

Measured kernels(const std::string& system_name, const std::string& framework,
                 const Precisions& precisions, const FamilyNoise& noise = {}, int tp = 1) {
  const SystemSpec system = load_system(system_name, "", {});
  return {choice_of(system, framework), system, precisions, tp,
          std::make_unique<Fallback>(), noise};
}

Op gemm_op(NumberFormat format) {
  Op op;
  op.kind = OpKind::kGemm;
  op.weight_format = format;
  op.m = 8;
  op.n = 7168;
  op.k = 8192;
  return op;
}

double us(const KernelTime& time) {
  return time.time.value() * 1e6;
}

constexpr NumberFormat kFormats[] = {
    NumberFormat::kBf16,     NumberFormat::kFp16,        NumberFormat::kFp8,
    NumberFormat::kFp8Block, NumberFormat::kInt8,        NumberFormat::kAwqInt4,
    NumberFormat::kGptqInt4, NumberFormat::kInt4Group32, NumberFormat::kQ4KM,
    NumberFormat::kMxfp4,    NumberFormat::kNvfp4};

}  // namespace

TEST_CASE("a GEMM of any format is priced by the curve its names choose") {
  for (const std::string name : {"a100_sxm", "h100_sxm", "b200_sxm"}) {
    const SystemSpec system = load_system(name, "", {});
    for (const NumberFormat format : kFormats) {
      CAPTURE(name);
      CAPTURE(to_text(format));
      const KernelNames names = gemm_kernels(format, system.gpu.sm_version);
      const FoundCurve found =
          KernelLibrary(choice_of(system, "trtllm")).find("gemm", names.kernels, names.dtypes);
      REQUIRE(found.curve != nullptr);
      KernelShape shape;
      shape.m = 8;
      shape.n = 7168;
      shape.k = 8192;
      shape.weight_bytes = bits_per_weight(format) / 8;
      shape.input_bytes = input_bytes_of(found.curve->dtype);
      shape.quantise_us = quantise_us("trtllm", format);
      DeviceCeilings device = ceilings_of(system, found.curve->dtype);
      device.cold = true;
      const double expect = found.curve->at(shape, device).time.value() * 1e6;
      CHECK(us(kernels(name, "trtllm", all_in(format)).time(gemm_op(format))) ==
            doctest::Approx(expect));
      CHECK(expect < 100);  // 59 million weights are 76 us of an A100's memory in bf16
    }
  }
}

TEST_CASE("quantisation costs what the engine leaves of it") {
  const auto time = [](const std::string& framework, NumberFormat format) {
    return us(kernels("b200_sxm", framework, all_in(format)).time(gemm_op(format)));
  };
  // All three borrow TensorRT-LLM's curve on this card, so only the quantisation differs.
  CHECK(time("trtllm", NumberFormat::kNvfp4) - time("vllm", NumberFormat::kNvfp4) ==
        doctest::Approx(4.5 - 2.3).epsilon(0.1));
  CHECK(time("trtllm", NumberFormat::kFp8) < time("sglang", NumberFormat::kFp8) - 5);
  CHECK(time("vllm", NumberFormat::kFp8) == doctest::Approx(time("trtllm", NumberFormat::kFp8)));
}

TEST_CASE("experts are priced by their loads, with weights from memory and never from L2") {
  const SystemSpec system = load_system("h100_sxm", "", {});
  const Precisions bf16 = all_in(NumberFormat::kBf16);
  const KernelChoice choice = choice_of(system, "vllm");
  const KernelNames names = expert_kernels(choice, NumberFormat::kBf16, true);
  const FoundCurve found = KernelLibrary(choice).find("moe", names.kernels, names.dtypes);
  REQUIRE(found.curve != nullptr);
  Op op;
  op.kind = OpKind::kGroupedGemm;
  op.weight_format = NumberFormat::kBf16;
  op.tokens = 4096;
  op.m = 8192;
  op.n = 768;
  op.k = 2048;
  op.active_experts = 6;
  op.experts = 8;
  op.total_experts = 8;
  op.top_k = 2;
  op.above_64 = 7900;
  op.above_256 = 6800;
  KernelShape shape;
  shape.tokens = 4096;
  shape.pairs = 8192;
  shape.active = 6;
  shape.experts = shape.total_experts = 8;
  shape.topk = 2;
  shape.hidden = 2048;
  shape.inter = 768;
  shape.above_64 = 7900;
  shape.above_256 = 6800;
  shape.weight_bytes = 2;
  DeviceCeilings device = ceilings_of(system, "bfloat16");
  const double from_l2 = found.curve->at(shape, device).time.value() * 1e6;
  device.l2_bytes = 0;
  const double expect = found.curve->at(shape, device).time.value() * 1e6;
  CHECK(us(kernels("h100_sxm", "vllm", bf16).time(op)) == doctest::Approx(expect));
  CHECK(expect >= from_l2);
  shape.above_64 = shape.above_256 = 0;  // the same pairs, spread thinly: another time
  CHECK(found.curve->at(shape, device).time.value() * 1e6 != doctest::Approx(expect));
}

TEST_CASE("decoding reads its cache from memory, however small it is") {
  const SystemSpec system = load_system("h100_sxm", "", {});
  const FoundCurve found =
      KernelLibrary(choice_of(system, "vllm"))
          .find("attention_generation", {}, std::vector<std::string>{"bfloat16/bfloat16"});
  REQUIRE(found.curve != nullptr);
  Op op;
  op.kind = OpKind::kAttentionDecode;
  op.sequences = 16;
  op.m = 16;
  op.n = 16 * 512;
  op.pairs = 16 * 512;
  op.k = 32;
  op.kv_heads = 8;
  op.head_dim = 128;
  KernelShape shape;
  shape.batch = shape.queries = 16;
  shape.kv_tokens = shape.pairs_qk = 16 * 512;
  shape.longest = 512;  // the mean, as nobody tells the longest
  shape.heads = 32;
  shape.kv_heads = 8;
  shape.head_dim = 128;
  DeviceCeilings device = ceilings_of(system, "bfloat16");
  const double hot = found.curve->at(shape, device).time.value() * 1e6;
  device.cold = true;
  const double cold = found.curve->at(shape, device).time.value() * 1e6;
  CHECK(cold > hot);
  CHECK(us(kernels("h100_sxm", "vllm", all_in(NumberFormat::kBf16)).time(op)) ==
        doctest::Approx(cold));
}

TEST_CASE("what a fused expert kernel contains is not paid twice") {
  const Measured measured = kernels("h100_sxm", "vllm", all_in(NumberFormat::kBf16));
  Op op;
  op.kind = OpKind::kElementwise;
  op.m = 64;
  op.activation_bytes = 1e6;
  for (const MemoryPart part :
       {MemoryPart::kRouting, MemoryPart::kAlign, MemoryPart::kExpertSum, MemoryPart::kKvWrite}) {
    op.part = part;
    CHECK(us(measured.time(op)) == 0);
  }
  for (const MemoryPart part :
       {MemoryPart::kNorm, MemoryPart::kRotary, MemoryPart::kActivation, MemoryPart::kEmbedding}) {
    op.part = part;
    CHECK(us(measured.time(op)) > 0.5);
    CHECK(us(measured.time(op)) < 50);
  }
  op.part = MemoryPart::kOther;
  CHECK(measured.time(op).provenance == Provenance::kRoofline);
}

// 128 heads of 128 + 128 over 4096 latents of 512: SGLang's prompts run the same product in 0.2 ms
// of a 1.5 ms call.
TEST_CASE("an element-wise kernel is its profiled curve and the gap before it") {
  // Kernels of 0.19 on its own card: the curve is of single kernels, a step runs one after another.
  const SystemSpec system = load_system("rtx_pro_6000", "", {});
  const std::vector<std::string> names{"norm"};
  const KernelQuery query{.op = "stream", .kernels = names, .dtypes = {}, .exact_kernel = true};
  const FoundCurve found = KernelLibrary(choice_of(system, "vllm")).find(query);
  REQUIRE(found.curve != nullptr);
  Op op;
  op.kind = OpKind::kElementwise;
  op.part = MemoryPart::kNorm;
  op.m = 16;
  op.activation_bytes = 16 * 8192 * 8;
  KernelShape shape;
  shape.rows = 16;
  shape.bytes = op.activation_bytes;
  DeviceCeilings device = ceilings_of(system, found.curve->dtype);
  device.cold = true;
  const double alone = found.curve->at(shape, device).time.value() * 1e6;
  CHECK(us(kernels("rtx_pro_6000", "vllm", all_in(NumberFormat::kBf16)).time(op)) ==
        doctest::Approx(alone + 1.1));
}

TEST_CASE("latent prompts pay the expansion that TensorRT-LLM's table leaves out, vLLM's has it") {
  const auto prompt = [](std::int64_t cached, bool expands) {
    Op op;
    op.kind = OpKind::kMlaPrefill;
    op.weight_format = NumberFormat::kBf16;
    op.m = 4096;
    op.n = op.longest = 4096 + cached;
    op.pairs = 4096.0 * static_cast<double>(cached) + 4096.0 * 4097 / 2;
    op.sequences = 1;
    op.k = 128;
    op.head_dim = 576;
    op.expand_n = expands ? std::int64_t{128} * 256 : 0;
    op.expand_k = 512;
    return op;
  };
  Precisions precisions = all_in(NumberFormat::kFp8Block);
  for (const std::string framework : {"sglang", "trtllm", "vllm"}) {
    CAPTURE(framework);
    const Measured model = kernels("h100_sxm", framework, precisions);
    for (const std::int64_t cached : {0, 4096}) {
      Op product;
      product.kind = OpKind::kGemm;
      product.weight_format = NumberFormat::kFp8Block;
      product.m = 4096 + cached;  // latents of cached tokens are expanded, too
      product.n = std::int64_t{128} * 256;
      product.k = 512;
      const double added =
          us(model.time(prompt(cached, true))) - us(model.time(prompt(cached, false)));
      // Putting keys together is left to the roofline, a second here.
      const double expected = framework == "vllm" ? 0 : us(model.time(product)) + 1e6 * kFallback;
      CHECK(added == doctest::Approx(expected).epsilon(1e-6));
    }
  }
}

TEST_CASE("the curves behind a model's operators are named, with what was borrowed") {
  ModelSpec model = three_layers();
  const auto of = [&](const Measured& kernels, const std::string& op) {
    std::vector<KernelOrigin> found;
    for (KernelOrigin& origin : kernels.origins(model)) {
      if (origin.op == op) found.push_back(std::move(origin));
    }
    return found;
  };
  const Measured own = kernels("h100_sxm", "vllm", all_in(NumberFormat::kBf16));
  REQUIRE(of(own, "moe").size() == 1);
  CHECK(of(own, "moe")[0].profile.starts_with("h100_sxm/vllm-"));
  CHECK_FALSE(of(own, "moe")[0].donor);
  CHECK(of(own, "nccl").empty());  // one GPU
  CHECK(of(own, "mla_context").empty());
  const Measured borrowed = kernels("l40s", "vllm", all_in(NumberFormat::kBf16));
  REQUIRE(of(borrowed, "moe").size() == 1);
  CHECK(of(borrowed, "moe")[0].donor);
  CHECK_FALSE(of(borrowed, "moe")[0].profile.starts_with("l40s"));
  model.mla.kv_rank = 512;
  CHECK(of(own, "mla_context").size() == 1);
  CHECK(of(own, "attention_context").empty());
}

TEST_CASE("noise moves a family by its spread, and no other family") {
  FamilyNoise noise{};
  noise[static_cast<std::size_t>(OperatorFamily::kGemm)] = 1;
  const Precisions bf16 = all_in(NumberFormat::kBf16);
  const Measured nominal = kernels("h100_sxm", "vllm", bf16);
  const Measured moved = kernels("h100_sxm", "vllm", bf16, noise);
  const Op gemm = gemm_op(NumberFormat::kBf16);
  const double ratio = us(moved.time(gemm)) / us(nominal.time(gemm));
  CHECK(ratio > 1.01);
  CHECK(ratio < 1.3);
  Op norm;
  norm.kind = OpKind::kElementwise;
  norm.part = MemoryPart::kNorm;
  norm.m = 64;
  norm.activation_bytes = 1e6;
  CHECK(us(moved.time(norm)) == us(nominal.time(norm)));
}

TEST_CASE("all-reduces inside NVLink nodes are measured, others are left to the collectives") {
  Op op;
  op.kind = OpKind::kAllReduce;
  op.message_bytes = 65536;
  const Precisions bf16 = all_in(NumberFormat::kBf16);
  const KernelTime inside = kernels("h100_sxm", "vllm", bf16, {}, 8).time(op);
  CHECK(us(inside) > 2);
  CHECK(us(inside) < 30);
  // One: no NVLink joins the group, whatever the node has.
  CHECK(kernels("l40s", "vllm", bf16, {}, 1).time(op).provenance == Provenance::kRoofline);
  CHECK(kernels("h100_sxm", "vllm", bf16, {}, 1).time(op).provenance == Provenance::kRoofline);
}

TEST_CASE("prompts and decodes share a call where that was measured, else they add up") {
  Op prompts, decodes;
  prompts.kind = OpKind::kAttentionPrefill;
  decodes.kind = OpKind::kAttentionDecode;
  for (Op* op : {&prompts, &decodes}) {
    op->k = 32;
    op->kv_heads = 8;
    op->head_dim = 128;
  }
  prompts.sequences = 1;
  prompts.m = prompts.n = prompts.longest = 1024;
  prompts.pairs = 1024.0 * 1025 / 2;
  decodes.sequences = 64;
  decodes.m = 64;
  decodes.n = 64 * 1000;
  decodes.pairs = 64 * 1000;
  const Precisions bf16 = all_in(NumberFormat::kBf16);
  const Measured h100 = kernels("h100_sxm", "vllm", bf16);
  CHECK(us(h100.mixed_attention(prompts, decodes)) ==
        doctest::Approx(us(h100.time(prompts)) + us(h100.time(decodes))));
  const Measured rtx = kernels("rtx_pro_6000", "vllm", bf16);
  CHECK(us(rtx.mixed_attention(prompts, decodes)) > us(rtx.time(prompts)));
  CHECK(us(rtx.mixed_attention(prompts, decodes)) !=
        doctest::Approx(us(rtx.time(prompts)) + us(rtx.time(decodes))));
}

TEST_CASE("without profiles everything is the roofline's") {
  const SystemSpec system = load_system("h100_sxm", "", {});
  KernelChoice choice = choice_of(system, "vllm");
  choice.none = true;
  const Measured measured(choice, system, all_in(NumberFormat::kBf16), 1,
                          std::make_unique<Fallback>(), {});
  CHECK(measured.time(gemm_op(NumberFormat::kBf16)).time.value() == kFallback);
  Op routing;
  routing.kind = OpKind::kElementwise;
  routing.part = MemoryPart::kRouting;
  routing.m = 1;
  CHECK(measured.time(routing).time.value() == kFallback);
}

}  // namespace moesim
