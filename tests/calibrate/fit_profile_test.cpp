#include "calibrate/fit/fit_profile.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

using namespace moesim;

namespace {

/// `count` GEMMs of one format, the first `suspect` of them doubtful.
void add(std::vector<KernelSample>& out, const std::string& op, const std::string& dtype, int count,
         int suspect = 0) {
  for (int i = 0; i < count; ++i) {
    KernelSample sample;
    sample.op = op;
    sample.dtype = dtype;
    sample.system = "h100_sxm";
    sample.framework = "vllm";
    sample.shape.m = 16.0 * (i + 1);
    sample.shape.n = sample.shape.k = 4096;
    sample.shape_key = std::to_string(i);
    sample.seconds = 2e-5 + 1e-6 * i;
    sample.suspect = i < suspect;
    out.push_back(sample);
  }
}

}  // namespace

TEST_CASE("samples that make no curve are told, with the reason") {
  std::vector<KernelSample> samples;
  add(samples, "gemm", "bfloat16", 12);
  add(samples, "gemm", "fp8", 7);
  add(samples, "gemm", "int8_wo", 9, 7);
  add(samples, "teleport", "bfloat16", 20);
  KernelProfile profile;
  const std::vector<NoCurve> left_out =
      fit_profile(samples, load_system("h100_sxm", "", {}), profile);
  REQUIRE(profile.curves.size() == 1);
  CHECK(profile.curves[0].dtype == "bfloat16");
  struct Case {
    std::string op, dtype, reason;
    std::size_t samples;
  };
  const Case cases[] = {
      {"gemm", "fp8", "7 samples, a curve needs 8", 7},
      {"gemm", "int8_wo", "2 of 9 samples are not suspect, a curve needs 3", 9},
      {"teleport", "bfloat16", "no form describes this operator", 20},
  };
  REQUIRE(left_out.size() == 3);
  for (std::size_t i = 0; i < left_out.size(); ++i) {
    CHECK(left_out[i].op == cases[i].op);
    CHECK(left_out[i].dtype == cases[i].dtype);
    CHECK(left_out[i].reason == cases[i].reason);
    CHECK(left_out[i].samples == cases[i].samples);
  }
}
