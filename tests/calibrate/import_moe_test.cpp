#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>
#include <string>
#include <vector>

#include "calibrate/import/expert_loads.h"
#include "calibrate/import/kernel_table.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

/// Writes a table below a fresh folder and reads it.
KernelSamples read(const std::string& path, const std::string& text) {
  const fs::path file = fs::temp_directory_path() / "moesim_moe_test" / path;
  fs::create_directories(file.parent_path());
  write_file(file, text);
  return read_kernel_table(file);
}

const std::string kHeader =
    "src,kernel,dtype,dist,hidden,inter,gated,topk,experts,tp,ep,tokens,suspect,latency_us\n";

TEST_CASE("moe rows: columns land where they belong") {
  const KernelSamples read_back =
      read("moe_h100_sxm.csv", kHeader +
                                   "vllm,triton,bfloat16,balanced,1024,640,1,2,8,2,4,16,0,50.5\n"
                                   "trtllm,nongated,fp8,balanced,1024,640,0,2,8,1,1,16,1,70\n");
  REQUIRE(read_back.samples.size() == 2);
  const KernelSample& a = read_back.samples[0];
  CHECK(a.system == "h100_sxm");
  CHECK(a.framework == "vllm");
  CHECK(a.op == "moe");
  CHECK(a.kernel == "triton");
  CHECK(a.seconds == doctest::Approx(50.5e-6));
  CHECK(!a.suspect);
  CHECK(a.shape.inter == 320);  // the table's is before tensor parallelism
  CHECK(a.shape.experts == 2);
  CHECK(a.shape.total_experts == 8);
  CHECK(a.shape.tokens == 16);
  CHECK(a.shape.pairs == 8);  // 32 pairs over 8 experts, two of them here
  CHECK(a.shape.active == 2);
  CHECK(a.shape.matrices == 3);
  const KernelSample& b = read_back.samples[1];
  CHECK(b.suspect);
  CHECK(b.shape.matrices == 2);
  CHECK(b.shape.weight_bytes == 1);
  CHECK(a.shape_key != b.shape_key);
}

TEST_CASE(
    "DeepGEMM: uniform prompts on fewer ranks than their experts were measured on are suspect") {
  const KernelSamples found =
      read("moe_deepgemm_h100_sxm.csv",
           "phase,dtype,dist,hidden,inter,topk,experts,ep,tokens,latency_us\n"
           "context,fp8_block,uniform,7168,2048,8,256,2,256,393\n"
           "context,fp8_block,uniform,7168,2048,8,256,4,256,390\n"
           "context,fp8_block,uniform,7168,2048,8,256,8,256,392\n"
           "context,fp8_block,pl1.2,7168,2048,8,256,2,256,2502\n"
           "generation,fp8_block,uniform,7168,2048,8,256,2,256,1900\n");
  std::vector<bool> suspect;
  for (const KernelSample& s : found.samples) suspect.push_back(s.suspect);
  CHECK(suspect == std::vector{true, true, false, false, false});
}

TEST_CASE("moe rows: mistakes name file, line and column") {
  std::string message;
  try {
    (void)read("moe_h200_sxm.csv",
               kHeader +
                   "vllm,triton,bfloat16,zipf,1024,640,1,2,8,1,1,16,0,50\n"
                   "vllm,triton,bf17,balanced,1024,640,1,2,8,1,3,16,0,50\n"
                   "vllm,triton,bfloat16,balanced,1024,640,1,9,8,1,1,1.5,0,50\n");
  } catch (const InputError& error) {
    message = error.what();
  }
  for (const std::string part : {"moe_h200_sxm.csv:2:22", "zipf", ":3:13", "bf17", ":3:44",
                                 "does not divide", ":4:50", "whole number", "more than"})
    CHECK_MESSAGE(message.find(part) != std::string::npos, (part + " in " + message));
}

TEST_CASE("moe rows: vLLM layer profiles give active experts, the folder the card and tp") {
  const std::string text = "tokens,activated_experts,time_us\n512,8,100\n";
  const KernelSamples good = read("rtxpro6000-qwen3-30b-a3b/tp2/moe.csv", text);
  REQUIRE(good.samples.size() == 1);
  const KernelShape& s = good.samples[0].shape;
  CHECK(good.samples[0].system == "rtx_pro_6000");
  CHECK(s.active == 8);
  CHECK(s.pairs == 4096);
  CHECK(s.above_64 == 4096 - 8 * 64);
  CHECK(s.above_256 == 4096 - 8 * 256);
  CHECK(s.inter * 2 == 768);
  const KernelSamples unknown = read("rtxpro6000-other/tp2/moe.csv", text);
  CHECK(unknown.samples.empty());
  CHECK(unknown.notes.size() == 1);
}

TEST_CASE("expert loads: balanced routing spreads pairs and starts on the first rank") {
  RoutedLayer layer{.tokens = 64, .topk = 4, .experts = 32, .ep = 4, .distribution = "balanced"};
  CHECK(rank_load(layer).pairs == 64);
  CHECK(rank_load(layer).busiest == 8);
  CHECK(rank_load(layer).active == 8);
  layer.tokens = 1;  // takes every eighth expert from the first on
  CHECK(rank_load(layer).pairs == 1);
  CHECK(rank_load(layer).active == 1);
}

TEST_CASE("expert loads: a power law keeps the sum and no expert passes the tokens") {
  for (const int tokens : {1, 5, 32, 700, 9000}) {
    RoutedLayer layer{.tokens = tokens, .topk = 6, .experts = 48, .distribution = "pl1.2"};
    const RankLoad all = rank_load(layer);
    CHECK(all.pairs == doctest::Approx(6.0 * tokens));
    CHECK(all.busiest <= tokens);
    CHECK(all.above_256 <= all.above_64);
    layer.ep = 8;
    const RankLoad one = rank_load(layer);
    CHECK(one.pairs >= 6.0 * tokens / 8 - 1e-9);  // the most loaded of eight
    CHECK(one.active <= 6);
  }
}

TEST_CASE("expert loads: collectors differ in where few tokens fall") {
  // Every share of two pairs over 64 experts rounds to none: all is left over.
  RoutedLayer layer{.tokens = 1, .topk = 2, .experts = 64, .ep = 4, .distribution = "pl1.2"};
  CHECK(rank_load(layer).pairs == 1);
  layer.leftovers = Leftovers::to_first;
  CHECK(rank_load(layer).pairs == 2);
  layer.tokens = 12;  // some experts have shares of their own; leftovers go there, or do not
  layer.ep = 1;
  const double wide = rank_load(layer).active;
  layer.leftovers = Leftovers::to_largest;
  CHECK(rank_load(layer).active < wide - 2);
}

TEST_CASE("expert loads: a steeper power law crowds more") {
  RoutedLayer layer{.tokens = 4096, .topk = 8, .experts = 128, .distribution = "pl1.01"};
  const double mild = rank_load(layer).busiest;
  layer.distribution = "power_law_0.6";
  CHECK(rank_load(layer).busiest < mild);
  CHECK(known_distribution("uniform"));
  CHECK(!known_distribution("pl1"));
  CHECK(!known_distribution("plx"));
}

}  // namespace
}  // namespace moesim
