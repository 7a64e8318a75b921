#include "sim/validation/validate_ops.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>
#include <string>
#include <vector>

#include "hardware/dtypes.h"
#include "hardware/profile.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

fs::path table(const std::string& name, const std::string& text) {
  const fs::path file = fs::temp_directory_path() / "moesim_validate_ops" / name;
  write_file(file, text);
  return file;
}

/// Microseconds of an 8 x 4096 x 4096 GEMM by the shipped H100 profile of vLLM.
double predicted_us() {
  for (const ProfileName& name : shipped_profiles()) {
    if (name.system != "h100_sxm" || name.framework != "vllm") continue;
    const KernelProfile profile = load_profile(name.file);
    KernelShape shape;
    shape.m = 8;
    shape.n = shape.k = 4096;
    shape.weight_bytes = 2;
    const DeviceCeilings device = ceilings_of(load_system("h100_sxm", "", {}), "bfloat16");
    return profile.find("gemm", "", "bfloat16")->at(shape, device).time.value() * 1e6;
  }
  return 0;
}

}  // namespace

TEST_CASE("a kernel is compared with the profile of its system and framework") {
  const double us = predicted_us();
  const fs::path file =
      table("gemm_h100_sxm.csv", "src,dtype,n,k,m,latency_us\nvllm,bfloat16,4096,4096,8," +
                                     std::to_string(us * 1.25) + "\nvllm,bfloat16,4096,4096,8," +
                                     std::to_string(us) + "\nvllm,bfloat16,4096,4096,8," +
                                     std::to_string(us / 2) + "\n");
  const Validation validation = validate_ops({file});
  REQUIRE(validation.rows.size() == 3);
  CHECK(validation.rows[0].metric == "latency");
  CHECK(validation.rows[0].error() == doctest::Approx(-0.2).epsilon(0.001));
  CHECK(validation.rows[2].error() == doctest::Approx(1.0).epsilon(0.001));
  const auto group =
      std::ranges::find(validation.groups, "gemm/h100_sxm/vllm/bfloat16", &ErrorGroup::name);
  REQUIRE(group != validation.groups.end());
  CHECK(group->n == 3);
  CHECK(group->median_ape == doctest::Approx(0.2).epsilon(0.001));
  CHECK(group->median_pe == doctest::Approx(0).epsilon(0.001));
  // The row that is met exactly is inside its interval, the one twice as fast is not.
  CHECK(*validation.rows[1].p10 < validation.rows[1].measured);
  CHECK(validation.rows[1].measured < *validation.rows[1].p90);
  CHECK(validation.rows[2].measured < *validation.rows[2].p10);
}

TEST_CASE("suspect samples and systems that are not shipped are told, not counted") {
  const fs::path suspect = table(
      "moe_h100_sxm.csv",
      "src,kernel,dtype,dist,hidden,inter,gated,topk,experts,tp,ep,tokens,suspect,latency_us\n"
      "vllm,triton,bfloat16,balanced,2048,768,1,8,128,1,1,64,1,500\n");
  const fs::path unknown =
      table("gemm_gb200.csv", "src,dtype,n,k,m,latency_us\ntrtllm,bfloat16,4096,4096,8,10\n");
  const Validation validation = validate_ops({suspect, unknown});
  REQUIRE(validation.rows.size() == 1);
  CHECK_FALSE(validation.rows[0].left_out.empty());
  CHECK(validation.groups.empty());
  REQUIRE(validation.unsupported.size() == 1);
  CHECK(validation.unsupported[0].reason == "system gb200 is not shipped");
}

TEST_CASE("samples of a table that names no system are told by file") {
  const std::string header = "src,dtype,n,k,m,latency_us\n";
  const fs::path named = table("gemm_h100_sxm.csv", header + "vllm,bfloat16,4096,4096,8,20\n");
  const fs::path unnamed = table("gemm_mine.csv", header +
                                                      "vllm,bfloat16,4096,4096,8,20\n"
                                                      "vllm,bfloat16,4096,4096,16,20\n");
  const Validation validation = validate_ops({named, unnamed});
  CHECK(validation.rows.size() == 1);
  REQUIRE(validation.unsupported.size() == 1);
  CHECK(validation.unsupported[0].id == "gemm_mine.csv");
  CHECK(validation.unsupported[0].rows == 2);
  CHECK(validation.unsupported[0].reason ==
        unnamed.string() +
            ": names no system; call the file FAMILY_SYSTEM.csv, or give it a column system");
}

TEST_CASE("the curves that answered stand with their errors on shapes left out") {
  const fs::path file = table("gemm_h100_sxm.csv",
                              "src,dtype,n,k,m,latency_us\nvllm,bfloat16,4096,4096,8,20\n"
                              "vllm,bfloat16,4096,4096,16,20\n");
  const Validation validation = validate_ops({file});
  REQUIRE(validation.left_out_curves.size() == 1);
  const LeftOutCurve& curve = validation.left_out_curves[0];
  CHECK(curve.profile == "h100_sxm/vllm-0.24");
  CHECK(curve.op == "gemm");
  CHECK(curve.shapes > 100);
  CHECK(curve.median_ape > curve.in_median_ape);
  CHECK(curve.p90_ape > curve.median_ape);
  const auto pooled = std::ranges::find(validation.groups, "pooled", &ErrorGroup::name);
  REQUIRE(pooled != validation.groups.end());
  CHECK(pooled->n == 2);
  REQUIRE(validation.goals.size() == 1);
  CHECK(validation.goals[0].what == "inside P10-P90");
}

TEST_CASE(
    "batches of unequal contexts are a group of their own, and so are their errors left out") {
  const fs::path folder = fs::temp_directory_path() / "moesim_validate_uneven";
  fs::remove_all(folder);
  write_file(folder / "meta.yaml",
             "vllm_version: 0.19.0\nhardware: RTXPRO6000\nmodel: meta-llama/Llama-3.1-8B\n"
             "measurement_iterations: 3\ntp_degrees: [1]\nengine_effective:\n  hf_overrides:\n"
             "    intermediate_size: 14336\n    num_attention_heads: 32\n"
             "    num_key_value_heads: 4\n    vocab_size: 128256\n");
  write_file(folder / "tp1" / "attention.csv",
             "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n0,0,128,4096,763\n");
  write_file(folder / "tp1" / "skew.csv",
             "n,nb,pc,kp,kvs,kv_big,t_skew_us\n128,1,0,0,4096,16384,3021\n");
  const Validation validation = validate_ops({folder});
  std::vector<std::string> names;
  for (const ErrorGroup& group : validation.groups) names.push_back(group.name);
  const std::string rest = "/rtx_pro_6000/vllm/bfloat16/bfloat16";
  CHECK(std::ranges::count(names, "attention_generation" + rest) == 1);
  CHECK(std::ranges::count(names, "attention_generation_uneven" + rest) == 1);
  REQUIRE(validation.rows.size() == 2);
  // Measured 1007 us; a batch of the mean context takes 780 us.
  for (const ComparedValue& row : validation.rows) CHECK(std::abs(row.error()) < 0.12);
  REQUIRE(validation.left_out_curves.size() == 2);
  CHECK(validation.left_out_curves[0].kernel.empty());
  CHECK(validation.left_out_curves[1].kernel == "uneven contexts");
  CHECK(validation.left_out_curves[1].points == 327);
}

TEST_CASE("what is left out is counted in rows, and says whether it is between nodes") {
  const fs::path folder = fs::temp_directory_path() / "moesim_validate_ops_folder";
  fs::remove_all(folder);
  write_file(folder / "other.csv", "a,b\n1,2\n3,4\n5,6\n");
  write_file(folder / "vidur_network.csv",
             "network,op,gpus,gpus_per_node,bytes,latency_us\n"
             "a100_dgx,all_reduce,2,1,2048,43\na100_dgx,all_reduce,16,8,2048,90\n"
             "a100_dgx,all_reduce,4,4,2048,20\na100_pairwise_nvlink,send_recv,2,2,2048,9\n");
  const Validation validation = validate_ops({folder});
  CHECK(validation.rows.empty());
  REQUIRE(validation.unsupported.size() == 4);
  CHECK(validation.unsupported[0].reason ==
        "nccl all_reduce between nodes: no profile, networks are computed from their links");
  CHECK(validation.unsupported[2].reason == "other.csv: not a table of kernels, skipped");
  CHECK(validation.unsupported[2].rows == 3);
  CHECK(validation.unsupported[3].rows == 2);
  fs::remove_all(folder);
  fs::create_directories(folder);
  CHECK_THROWS_AS((void)validate_ops({folder}), InputError);
  fs::remove_all(folder);
}

TEST_CASE("a file that holds no kernels is an error, and a bad cell names its place") {
  CHECK_THROWS_AS((void)validate_ops({table("other.csv", "a,b\n1,2\n")}), InputError);
  const fs::path bad =
      table("gemm_a100_sxm.csv", "src,dtype,n,k,m,latency_us\nvllm,bfloat16,x,64,1,3\n");
  try {
    (void)validate_ops({bad});
    FAIL("accepted");
  } catch (const InputError& error) {
    CHECK(error.diagnostics().front().where.line == 2);
    CHECK(error.diagnostics().front().where.column == 15);
    CHECK(error.diagnostics().front().key == "n");
  }
}

}  // namespace moesim
