#include "hardware/kernel_library.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

namespace moesim {
namespace {

FoundCurve find(const std::string& system, int sm, const std::string& framework,
                const std::string& op, const std::vector<std::string>& dtypes,
                const std::vector<std::string>& kernels = {}) {
  KernelChoice choice;
  choice.system = system;
  choice.sm_version = sm;
  choice.framework = framework;
  return KernelLibrary(choice).find(op, kernels, dtypes);
}

}  // namespace

TEST_CASE("the own profile answers first, then the nearest donor") {
  struct Case {
    std::string why, system;
    int sm;
    std::string framework, op, dtype, expect;
    bool donor;
  };
  const Case cases[] = {
      {"own", "h100_sxm", 90, "vllm", "gemm", "bfloat16", "h100_sxm/vllm-0.24", false},
      {"same framework, card of the generation, before another framework", "h200_sxm", 90, "vllm",
       "gemm", "bfloat16", "h100_sxm/vllm-0.24", true},
      {"a PCIe card borrows from its SXM sister", "h100_pcie", 90, "vllm", "gemm", "fp8",
       "h100_sxm/vllm-0.24", true},
      {"another framework of the card before an older generation", "b200_sxm", 100, "sglang",
       "gemm", "bfloat16", "b200_sxm/trtllm-1.3", true},
      {"Ada borrows from Ada", "l40s", 89, "vllm", "gemm", "bfloat16", "rtx_4090/vllm-0.19", true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const FoundCurve found = find(c.system, c.sm, c.framework, c.op, {c.dtype});
    REQUIRE(found.curve != nullptr);
    CHECK(found.profile == c.expect);
    CHECK(found.donor == c.donor);
    CHECK((found.extra_spread > 0) == c.donor);
    CHECK(found.curve->op == c.op);
    CHECK(found.curve->dtype == c.dtype);
  }
}

TEST_CASE("a number format further down the list is a donor, and widens the interval") {
  const FoundCurve own = find("a100_sxm", 80, "vllm", "moe", {"bfloat16"});
  const FoundCurve other = find("a100_sxm", 80, "vllm", "moe", {"w4a8_mxfp4_mxfp8", "bfloat16"});
  REQUIRE(own.curve != nullptr);
  REQUIRE(other.curve != nullptr);
  CHECK_FALSE(own.donor);
  CHECK(other.donor);
  CHECK(other.extra_spread > 0);
}

TEST_CASE("kernels are taken in the order asked for, and nothing else if exact") {
  const std::vector<std::string> dtypes{"w4a16_mxfp4"};
  CHECK(find("h100_sxm", 90, "vllm", "moe", dtypes, {"triton", "marlin"}).curve->kernel ==
        "triton");
  CHECK(find("h100_sxm", 90, "vllm", "moe", dtypes, {"marlin", "triton"}).curve->kernel ==
        "marlin");
  KernelChoice choice;
  choice.system = "h100_sxm";
  choice.sm_version = 90;
  choice.framework = "vllm";
  const std::vector<std::string> unknown{"no-such-kernel"};
  CHECK(KernelLibrary(choice).find("moe", unknown, dtypes, true).curve == nullptr);
  CHECK(KernelLibrary(choice).find("moe", unknown, dtypes, false).curve != nullptr);
}

TEST_CASE("another kernel than was asked for is a donor, and widens the interval") {
  KernelChoice choice;
  choice.system = "h100_sxm";
  choice.sm_version = 90;
  choice.framework = "vllm";
  const KernelLibrary library(choice);
  const std::vector<std::string> dtypes{"bfloat16"}, own{"triton"}, absent{"no-such-kernel"},
      either{"no-such-kernel", "triton"};
  CHECK_FALSE(library.find("moe", own, dtypes).donor);
  CHECK_FALSE(library.find("moe", either, dtypes).donor);
  const FoundCurve other = library.find("moe", absent, dtypes);
  REQUIRE(other.curve != nullptr);
  CHECK(other.profile == "h100_sxm/vllm-0.24");
  CHECK(other.donor);
  CHECK(other.extra_spread == doctest::Approx(0.35));
}

TEST_CASE("formats that stand in are donors from the first on where none is the format itself") {
  KernelChoice choice;
  choice.system = "h100_sxm";
  choice.sm_version = 90;
  choice.framework = "vllm";
  const std::vector<std::string> kernels{"marlin"}, dtypes{"int4_wo", "w4a16_mxfp4"};
  KernelQuery query{"moe", kernels, dtypes};
  CHECK_FALSE(KernelLibrary(choice).find(query).donor);
  query.own_dtypes = 0;
  CHECK(KernelLibrary(choice).find(query).donor);
}

TEST_CASE("curves of experts without a gate are asked for as such") {
  KernelChoice choice;
  choice.system = "h100_sxm";
  choice.sm_version = 90;
  choice.framework = "sglang";
  choice.donors = false;
  const KernelLibrary library(choice);
  const std::vector<std::string> cutlass{"cutlass"}, nongated{"nongated"}, dtypes{"bfloat16"};
  CHECK(library.find("moe", cutlass, dtypes, true).curve != nullptr);  // by its own name
  CHECK(library.find({"moe", cutlass, dtypes, true, 1, true}).curve == nullptr);
  CHECK(library.find({"moe", cutlass, dtypes, true, 1, false}).curve == nullptr);
  const FoundCurve ungated = library.find({"moe", nongated, dtypes, true, 1, false});
  REQUIRE(ungated.curve != nullptr);
  CHECK(ungated.curve->kernel == "cutlass");
}

TEST_CASE("without donors or profiles nothing is borrowed") {
  KernelChoice choice;
  choice.system = "l4";
  choice.sm_version = 89;
  choice.framework = "vllm";
  choice.donors = false;
  CHECK(KernelLibrary(choice).find("gemm", {}, {}).curve == nullptr);
  choice.donors = true;
  choice.none = true;
  CHECK(KernelLibrary(choice).find("gemm", {}, {}).curve == nullptr);
}

}  // namespace moesim
