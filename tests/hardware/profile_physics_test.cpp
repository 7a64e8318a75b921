#include "hardware/profile_physics.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <iterator>
#include <string>
#include <vector>

#include "hardware/dtypes.h"
#include "hardware/kernel_floor.h"

namespace moesim {
namespace {

/// 1 TB/s, 1 PFLOP/s, 100 GB/s in the node, 10 GB/s out of it, no L2.
DeviceCeilings round_device() {
  return {.memory_bandwidth = 1e12,
          .peak = 1e15,
          .sms = 100,
          .l2_bytes = 0,
          .link_bandwidth = 1e11,
          .nic_bandwidth = 1e10};
}

TEST_CASE("the least time of a kernel is what the datasheet says of its work") {
  struct Case {
    const char* why;
    const char* op;
    KernelShape shape;
    double expect_us;
  };
  KernelShape gemm{.m = 1000, .n = 1000, .k = 1000, .weight_bytes = 2};
  KernelShape narrow = gemm;
  narrow.m = 1;
  KernelShape moe;
  moe.weight_bytes = 1;
  moe.pairs = 10;
  moe.active = 5;
  moe.hidden = moe.inter = 1000;
  KernelShape decode;
  decode.batch = decode.queries = 4;
  decode.kv_tokens = decode.pairs_qk = 4000;
  decode.heads = 32;
  decode.kv_heads = 8;
  decode.head_dim = 100;
  KernelShape latent = decode;
  latent.head_dim = 576;
  latent.kv_bytes = 1;
  KernelShape message;
  message.bytes = 8e6;
  message.gpus = 8;
  KernelShape far = message;
  far.gpus = 16;
  far.nodes = 2;
  KernelShape stream;
  stream.bytes = 3e6;
  const Case cases[] = {
      {"2 x 10^9 flops", "gemm", gemm, 2},
      {"2 MB of weights", "gemm", narrow, 2},
      {"5 experts of 3 MB each", "moe", moe, 15},
      {"keys and values: 4000 x 2 x 8 x 100 x 2 bytes", "attention_generation", decode, 12.8},
      {"latents once for all heads: 4000 x 576 bytes", "mla_generation", latent, 2.304},
      {"7/8 of 8 MB over the links", "nccl", message, 70},
      {"half of 8 MB over 8 NICs", "nccl", far, 50},
      {"3 MB", "stream", stream, 3},
      {"unknown", "teleport", stream, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(least_time(c.op, c.shape, round_device()).value() * 1e6 == doctest::Approx(c.expect_us));
  }
  DeviceCeilings cached = round_device();
  cached.l2_bytes = 1e6;
  CHECK(least_time("gemm", narrow, cached).value() * 1e6 == doctest::Approx(1));
  cached.cold = true;
  CHECK(least_time("gemm", narrow, cached).value() * 1e6 == doctest::Approx(2));
}

KernelProfile shipped(const std::string& system, const std::string& framework) {
  for (const ProfileName& name : shipped_profiles()) {
    if (name.system == system && name.framework == framework) return load_profile(name.file);
  }
  FAIL("no such profile");
  return {};
}

KernelCurve& curve_of(KernelProfile& profile, const std::string& op) {
  const auto found = std::ranges::find(profile.curves, op, &KernelCurve::op);
  REQUIRE(found != profile.curves.end());
  return *found;
}

/// The findings of one operator's first curve, joined.
std::string findings(const KernelProfile& profile, const std::string& op, bool error) {
  std::string all;
  const auto found = std::ranges::find(profile.curves, op, &KernelCurve::op);
  const std::string key = "ops." + std::to_string(found - profile.curves.begin()) + " ";
  for (const PhysicsFinding& f : check_physics(profile, load_system(profile.system, "", {}))) {
    if (f.error == error && f.key.starts_with(key)) all += f.key + ": " + f.problem + "\n";
  }
  return all;
}

/// A limit that a shipped profile does not keep, because its data do not.
struct Exception {
  const char* profile;
  const char* curve;
  const char* rule;
  const char* why;
};
constexpr const char* kOtherKernel = "measured: from 17 rows on, another kernel gathers them";
constexpr const char* kTwoWidths =
    "norms of two widths were measured, each tells little of the other";
constexpr Exception kExceptions[] = {
    {"a100_sxm/vllm", "stream embedding", "time falls by", kOtherKernel},
    {"h100_sxm/vllm", "stream embedding", "time falls by", kOtherKernel},
    {"rtx_4090/vllm", "stream embedding", "time falls by", kOtherKernel},
    {"rtx_pro_6000/vllm", "stream embedding", "time falls by", kOtherKernel},
    {"rtx_4090/vllm", "stream embedding", "times as fast as the datasheet",
     "measured up to 2048 rows, which L2 holds; in a run memory is cold"},
    {"a100_sxm/vllm", "stream norm", "misses shapes left out", kTwoWidths},
    {"rtx_4090/vllm", "stream norm", "misses shapes left out", kTwoWidths},
    {"rtx_pro_6000/vllm", "stream norm", "time falls by",
     "two kinds in one curve: 2048 rows of 4 KiB take half of 1024 of 8 KiB"},
    {"rtx_pro_6000/vllm", "stream activation", "misses shapes left out",
     "four widths: L2 holds the two narrow ones, memory the others"},
};

TEST_CASE("shipped profiles keep the limits of physics, but for what their data say") {
  std::vector<bool> met(std::size(kExceptions));
  for (const ProfileName& name : shipped_profiles()) {
    CAPTURE(name.file.string());
    const KernelProfile profile = load_profile(name.file);
    const std::string shown = name.system + "/" + name.framework;
    for (const PhysicsFinding& f : check_physics(profile, load_system(name.system, "", {}))) {
      CAPTURE(f.key);
      CAPTURE(f.problem);
      CHECK(!f.error);
      const auto known = std::ranges::find_if(kExceptions, [&](const Exception& e) {
        return shown == e.profile && f.key.find(e.curve) != std::string::npos &&
               f.problem.find(e.rule) != std::string::npos;
      });
      CHECK(known != std::end(kExceptions));
      if (known != std::end(kExceptions))
        met[static_cast<std::size_t>(known - std::begin(kExceptions))] = true;
    }
  }
  for (std::size_t i = 0; i < met.size(); ++i) {
    CAPTURE(kExceptions[i].profile);
    CAPTURE(kExceptions[i].curve);
    CHECK(met[i]);  // else take the exception out
  }
}

TEST_CASE("a profile that no card could have is told") {
  const KernelProfile good = shipped("h100_sxm", "vllm");
  CHECK(findings(good, "gemm", false).empty());

  KernelProfile fast = good;
  KernelCurve& gemm = curve_of(fast, "gemm");
  const auto& names = gemm.form->coefficients;
  const auto efficiency = std::ranges::find(names, std::string("efficiency"),
                                            [](const Coefficient& c) { return c.name; });
  REQUIRE(efficiency != names.end());
  double& knob = gemm.coefficients[static_cast<std::size_t>(efficiency - names.begin())];
  const double was = knob;
  knob = 1.4;
  CHECK(findings(fast, "gemm", false).find("times as fast as the datasheet") != std::string::npos);
  CHECK(findings(fast, "gemm", true).empty());
  knob = 5 * was;
  CHECK(findings(fast, "gemm", true).find("times as fast as the datasheet") != std::string::npos);

  KernelProfile falling = good;
  for (float& value : curve_of(falling, "gemm").table.values) value = 0;
  // The first axis is log2 m: what is large is four times as fast as what is small.
  EfficiencyTable& table = curve_of(falling, "gemm").table;
  const std::size_t rest = table.size() / static_cast<std::size_t>(table.axes[0].count);
  for (std::size_t i = 0; i < table.size(); ++i) table.values[i] = i / rest < 4 ? 0.69F : -0.69F;
  CHECK(findings(falling, "gemm", true).find("time falls") != std::string::npos);

  KernelProfile vague = good;
  curve_of(vague, "nccl").spread_far = 1.5;
  curve_of(vague, "nccl").quality.left_p50 = 0.4;
  CHECK(findings(vague, "nccl", false).find("spread 1.50") != std::string::npos);
  CHECK(findings(vague, "nccl", false).find("left out by 40 %") != std::string::npos);

  KernelProfile none = good;
  for (double& c : curve_of(none, "nccl").coefficients) c = -1;
  CHECK(findings(none, "nccl", true).find("not positive") != std::string::npos);
}

}  // namespace
}  // namespace moesim
