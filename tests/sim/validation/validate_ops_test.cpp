#include "sim/validation/validate_ops.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <string>

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
