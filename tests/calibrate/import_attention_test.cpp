#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <string>

#include "calibrate/import/kernel_table.h"
#include "hardware/attention.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

fs::path put(const fs::path& name, const std::string& text) {
  const fs::path file = fs::temp_directory_path() / "moesim_import_attention" / name;
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

const std::string kHeads = "src,attn_dtype,kv_dtype,heads,kv_heads,head_dim,window,batch,";

TEST_CASE("prompts: causal pairs, keys cut by a window, dtype of both formats") {
  const KernelSamples found = read_kernel_table(
      put("attention_context_h100_sxm.csv", kHeads + "seq_len,latency_us\n"
                                                     "x,bfloat16,fp8,12,3,64,0,2,10,50\n"
                                                     "x,bfloat16,fp8,12,3,64,4,2,10,60\n"));
  REQUIRE(found.samples.size() == 2);
  const KernelSample& full = found.samples[0];
  CHECK(full.system == "h100_sxm");
  CHECK(full.framework == "x");
  CHECK(full.op == "attention_context");
  CHECK(full.kernel == "");
  CHECK(full.dtype == "bfloat16/fp8");
  CHECK(full.seconds == doctest::Approx(50e-6));
  CHECK(full.shape.heads == 12);
  CHECK(full.shape.kv_heads == 3);
  CHECK(full.shape.kv_bytes == 1);
  CHECK(full.shape.input_bytes == 2);
  CHECK(full.shape.queries == 20);
  CHECK(full.shape.kv_tokens == 20);
  CHECK(full.shape.pairs_qk == 110);
  CHECK(full.shape.longest == 10);
  const KernelSample& cut = found.samples[1];
  CHECK(cut.shape.pairs_qk == 2 * (1 + 2 + 3 + 7 * 4));
  CHECK(cut.shape.longest == 4);
  CHECK(cut.shape_key != full.shape_key);
}

TEST_CASE("names of tables are read in any case") {
  const KernelSamples found = read_kernel_table(
      put("Attention_Generation_A100_SXM.CSV",
          kHeads + "past_len,latency_us\nx,bfloat16,bfloat16,8,1,128,0,3,99,9\n"));
  REQUIRE(found.samples.size() == 1);
  CHECK(found.samples[0].op == "attention_generation");
  CHECK(found.samples[0].system == "a100_sxm");
}

TEST_CASE("decode: the step's own token is read, too") {
  const KernelSamples found =
      read_kernel_table(put("attention_generation_a100_sxm.csv",
                            kHeads + "past_len,latency_us\nx,bfloat16,bfloat16,8,1,128,0,3,99,9\n"
                                     "x,bfloat16,bfloat16,8,1,128,16,3,99,8\n"));
  REQUIRE(found.samples.size() == 2);
  CHECK(found.samples[0].op == "attention_generation");
  CHECK(found.samples[0].shape.queries == 3);
  CHECK(found.samples[0].shape.kv_tokens == 300);
  CHECK(found.samples[0].shape.longest == 100);
  CHECK(found.samples[1].shape.kv_tokens == 48);
}

TEST_CASE("bad cells are told by file, line and column") {
  const std::string said =
      mistake_in(put("attention_context_l4.csv", kHeads + "seq_len,latency_us\n"
                                                          "x,bfloat16,fp8,12,3,64,0,2,10,50\n"
                                                          "x,bfloat16,fp8,12,0,64,0,2,10,fast\n"
                                                          "x,bfloat16,fp7,12,3,64,0,2,10,50\n"));
  CHECK(said.find("attention_context_l4.csv:3:19") != std::string::npos);
  CHECK(said.find("'fast' is not a time") != std::string::npos);
  CHECK(said.find("attention_context_l4.csv:4:12") != std::string::npos);
  CHECK(said.find("unknown number format 'fp7'; did you mean 'fp8'?") != std::string::npos);
}

TEST_CASE("layer profiles: decode, chunks over a prefix, and both in one kernel") {
  put("card/meta.yaml",
      "vllm_version: 0.19.0\nhardware: RTX4090\ngpu: NVIDIA GeForce RTX 4090\n"
      "architecture: llama\nmodel: meta-llama/Llama-3.1-8B\n"
      "tp_degrees: [1, 2]\nengine_effective:\n  hf_overrides:\n    intermediate_size: 7168\n"
      "    num_attention_heads: 16\n    num_key_value_heads: 4\n    vocab_size: 64128\n");
  const KernelSamples found =
      read_kernel_table(put("card/tp1/attention.csv",
                            "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n"
                            "0,0,4,100,7\n"
                            "16,32,0,0,8\n"
                            "16,32,4,100,9\n"));
  REQUIRE(found.samples.size() == 3);
  CHECK(found.samples[0].system == "rtx_4090");
  CHECK(found.samples[0].framework == "vllm");
  CHECK(found.samples[0].op == "attention_generation");
  CHECK(found.samples[0].shape.heads == 32);
  CHECK(found.samples[0].shape.kv_heads == 8);
  CHECK(found.samples[0].shape.batch == 4);
  CHECK(found.samples[1].op == "attention_context");
  CHECK(found.samples[1].shape.batch == 1);
  CHECK(found.samples[1].shape.kv_tokens == 48);
  CHECK(found.samples[1].shape.pairs_qk == 16 * 32 + 136);
  CHECK(found.samples[1].shape.decodes == 0);
  const KernelSample& both = found.samples[2];
  CHECK(both.op == "attention_context");
  CHECK(both.shape.queries == 16);
  CHECK(both.shape.decodes == 4);
  CHECK(both.shape.decode_tokens == 404);
  CHECK(both.shape.longest == 101);
  CHECK(both.shape.decode_longest == 101);
  CHECK_FALSE(has_uneven_contexts(both.shape));
}

TEST_CASE("layer profiles: batches of unequal contexts, whose times are sums over repeats") {
  put("uneven/meta.yaml",
      "vllm_version: 0.19.0\nhardware: RTX4090\nmodel: meta-llama/Llama-3.1-8B\n"
      "measurement_iterations: 3\n"
      "tp_degrees: [1]\nengine_effective:\n  hf_overrides:\n    intermediate_size: 14336\n"
      "    num_attention_heads: 32\n    num_key_value_heads: 8\n    vocab_size: 128256\n");
  const KernelSamples found = read_kernel_table(put("uneven/tp1/skew.csv",
                                                    "n,nb,pc,kp,kvs,kv_big,t_skew_us\n"
                                                    "4,1,0,0,100,400,30\n"
                                                    "4,3,16,32,100,400,60\n"
                                                    "4,1,1000,32,100,400,90\n"));
  REQUIRE(found.samples.size() == 3);
  const KernelSample& alone = found.samples[0];
  CHECK(alone.op == "attention_generation");
  CHECK(alone.seconds == doctest::Approx(10e-6));
  CHECK(alone.shape.heads == 32);
  CHECK(alone.shape.batch == 4);
  CHECK(alone.shape.kv_tokens == 704);  // a token more than the cache has, each
  CHECK(alone.shape.longest == 401);
  CHECK(has_uneven_contexts(alone.shape));
  const KernelSample& both = found.samples[1];
  CHECK(both.op == "attention_context");
  CHECK(both.shape.queries == 16);
  CHECK(both.shape.decodes == 4);
  CHECK(both.shape.decode_tokens == 1304);
  CHECK(both.shape.decode_longest == 401);
  CHECK(both.shape.longest == 401);
  CHECK(has_uneven_contexts(both.shape));
  CHECK(both.shape_key != alone.shape_key);
  CHECK(found.samples[2].shape.longest == 1032);  // of the chunk
  CHECK(found.samples[2].shape.decode_longest == 401);
}

TEST_CASE("latent attention: decode reads latents, prompts keys of every head") {
  const KernelSamples decode =
      read_kernel_table(put("mla_generation_h100_sxm.csv",
                            "src,kv_dtype,heads,batch,past_len,latency_us\nx,fp8,16,2,9,7\n"));
  REQUIRE(decode.samples.size() == 1);
  CHECK(decode.samples[0].op == "mla_generation");
  CHECK(decode.samples[0].dtype == "fp8");
  CHECK(decode.samples[0].shape.kv_tokens == 20);
  CHECK(decode.samples[0].shape.kv_heads == 1);
  CHECK(decode.samples[0].shape.head_dim == 576);
  const KernelSamples prompt = read_kernel_table(put(
      "mla_context_h100_sxm.csv", "src,kv_dtype,heads,batch,seq_len,latency_us\nx,fp8,16,2,9,7\n"));
  REQUIRE(prompt.samples.size() == 1);
  CHECK(prompt.samples[0].op == "mla_context");
  CHECK(prompt.samples[0].shape.pairs_qk == 90);
  CHECK(prompt.samples[0].shape.kv_heads == 16);
}

TEST_CASE("latent attention timed without a graph: what the host hides is not fitted") {
  std::string text = "src,kv_dtype,heads,batch,past_len,latency_us\n";
  for (int past = 1; past < 40; ++past)
    text += "x,fp8,16,1," + std::to_string(past) + "," + (past == 20 ? "900" : "150") + "\n";
  text += "x,fp8,16,64,9999,2000\n";
  const KernelSamples found = read_kernel_table(put("mla_generation_a100_sxm.csv", text));
  REQUIRE(found.samples.size() == 40);
  CHECK(found.samples[0].suspect);
  CHECK(found.samples[19].suspect);  // disturbed, and small all the same
  CHECK_FALSE(found.samples[39].suspect);
  CHECK(found.notes.size() == 1);
}

TEST_CASE("the two products around absorbed attention") {
  const KernelSamples found =
      read_kernel_table(put("mla_bmm_h100_sxm.csv",
                            "src,op,dtype,heads,tokens,latency_us\nx,mla_gen_pre,fp8,16,5,4\nx,mla_"
                            "gen_post,bfloat16,16,5,4\n"));
  REQUIRE(found.samples.size() == 2);
  CHECK(found.samples[0].op == "mla_bmm");
  CHECK(found.samples[0].kernel == "mla_gen_pre");
  CHECK(found.samples[0].shape.m == 5);
  CHECK(found.samples[0].shape.n == 512);
  CHECK(found.samples[0].shape.k == 128);
  CHECK(found.samples[0].shape.weight_bytes == 1);
  CHECK(found.samples[1].shape.n == 128);
  CHECK(found.samples[1].shape.k == 512);
}

}  // namespace
}  // namespace moesim
