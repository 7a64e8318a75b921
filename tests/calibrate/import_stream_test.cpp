#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <string>

#include "calibrate/import/kernel_table.h"

using namespace moesim;
namespace fs = std::filesystem;

namespace {

fs::path put(const fs::path& name, const std::string& text) {
  const fs::path file = fs::temp_directory_path() / "moesim_import_stream" / name;
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
  return file;
}

std::string mistake_in(const fs::path& file) {
  try {
    (void)read_kernel_table(file);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::string meta(const std::string& model) {
  return "vllm_version: 0.19.0\nhardware: RTX4090\nmodel: " + model +
         "\ntp_degrees: [1, 2]\nengine_effective:\n  hf_overrides:\n    intermediate_size: 7168\n"
         "    num_attention_heads: 16\n    num_key_value_heads: 4\n    vocab_size: 64128\n";
}

}  // namespace

TEST_CASE("dynamic quantisation is the static one and what finding the scale adds") {
  const KernelSamples found = read_kernel_table(put("quantize_h100_sxm.csv",
                                                    "op,dtype,m,k,latency_us\n"
                                                    "compute_scale,fp8,8,1024,0.5\n"
                                                    "scale_matrix,fp8,8,1024,2\n"
                                                    "compute_scale,fp8,9,1024,0.5\n"));
  REQUIRE(found.samples.size() == 2);
  CHECK(found.samples[0].kernel == "quantize_static");
  CHECK(found.samples[0].seconds == doctest::Approx(2e-6));
  CHECK(found.samples[0].shape.bytes == 8 * 1024 * 3);
  CHECK(found.samples[0].shape.rows == 8);
  CHECK(found.samples[1].kernel == "quantize_dynamic");
  CHECK(found.samples[1].seconds == doctest::Approx(2.5e-6));
  CHECK(found.samples[1].dtype == "fp8");
}

TEST_CASE("Vidur's sub-operators: widths per rank, short times distrusted, not today's kernels") {
  const KernelSamples found = read_kernel_table(
      put("vidur_mlp_a100.csv",
          "model,tp,heads,kv_heads,hidden,ffn,gated,vocab,tokens,emb_us,input_layernorm_us,"
          "attn_pre_proj_us,attn_rope_us,attn_post_proj_us,post_attention_layernorm_us,"
          "mlp_up_proj_us,mlp_act_us,mlp_down_proj_us,add_us\n"
          "x,2,8,2,512,2048,1,99,16,5,6,7,8,9,10,11,12,13,1\n"));
  REQUIRE(found.samples.size() == 6);
  for (const KernelSample& s : found.samples) {
    CHECK(s.system == "a100_sxm");
    CHECK(s.framework == "");
    CHECK(s.shape.rows == 16);
    CHECK(s.kernel != "norm");
    if (s.kernel == "rotary_v0") {
      CHECK(s.shape.bytes == 16 * (8 + 2) / 2 * 64 * 4);  // heads of 64, two ranks
      CHECK(s.seconds == doctest::Approx(8e-6));
    }
    if (s.kernel == "activation_v0") CHECK(s.shape.bytes == 16 * 1024 * 6);
    if (s.kernel == "norm_v0") CHECK(s.shape.bytes == 16 * 512 * 4);
    CHECK(s.suspect == (s.kernel == "add"));
  }
}

TEST_CASE("layer profiles: sizes of one rank, from the overrides of the last degree") {
  put("a/meta.yaml", meta("meta-llama/Llama-3.1-8B"));
  const fs::path one = put("a/tp1/dense.csv",
                           "layer,tokens,time_us\n"
                           "qkv_proj,32,50\nact_fn,32,3\nfinal_layernorm,32,2\n");
  const KernelSamples found = read_kernel_table(one);
  REQUIRE(found.samples.size() == 3);
  CHECK(found.samples[0].system == "rtx_4090");
  CHECK(found.samples[0].framework == "vllm");
  CHECK(found.samples[0].op == "gemm");
  CHECK(found.samples[0].dtype == "bfloat16");
  CHECK(found.samples[0].shape.m == 32);
  CHECK(found.samples[0].shape.n == (32 + 2 * 8) * 128);
  CHECK(found.samples[0].shape.k == 4096);
  CHECK(found.samples[1].kernel == "activation");
  CHECK(found.samples[1].shape.bytes == 32 * 14336 * 6);
  CHECK(found.samples[2].kernel == "norm");
  CHECK(found.samples[2].shape.bytes == 32 * 4096 * 8);

  const fs::path two = put("a/tp2/dense.csv",
                           "layer,tokens,time_us\n"
                           "down_proj,32,50\nfinal_layernorm,32,2\n");
  const KernelSamples half = read_kernel_table(two);
  REQUIRE(half.samples.size() == 1);  // the norm was measured at tp1 and copied
  CHECK(half.samples[0].shape.n == 4096);
  CHECK(half.samples[0].shape.k == 7168);
}

TEST_CASE("sampling counts the whole vocabulary") {
  put("a/meta.yaml", meta("meta-llama/Llama-3.1-8B"));
  const fs::path file = put("a/tp1/per_sequence.csv",
                            "layer,sequences,time_us\n"
                            "sampler,3,20\nlm_head,3,700\n");
  const KernelSamples found = read_kernel_table(file);
  REQUIRE(found.samples.size() == 2);
  CHECK(found.samples[0].op == "sampler");
  CHECK(found.samples[0].kernel == "");
  CHECK(found.samples[0].shape.bytes == 3.0 * 128256 * 4);
  CHECK(found.samples[1].shape.n == 128256);
}

TEST_CASE("profiles of unknown models and layers are mistakes") {
  put("b/meta.yaml", meta("someone/else"));
  const std::string model =
      mistake_in(put("b/tp1/dense.csv", "layer,tokens,time_us\nact_fn,1,2\n"));
  CHECK(model.find("unknown model 'someone/else'") != std::string::npos);
  put("c/meta.yaml", meta("meta-llama/Llama-3.1-8B"));
  const std::string layer =
      mistake_in(put("c/tp1/dense.csv", "layer,tokens,time_us\nact_fn,1,2\nfoo,1,2\n"));
  CHECK(layer.find("dense.csv:3:1") != std::string::npos);
  CHECK(layer.find("unknown layer 'foo'") != std::string::npos);
}
