#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <string>

#include "hardware/dtypes.h"
#include "hardware/profile.h"
#include "sim/base/files.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

constexpr double kFall = 0.06;  ///< measured curves fall by a few percent where kernels change

/// Time of a curve while one size doubles; the largest relative fall on the way.
template <class SetSize>
double largest_fall(const KernelCurve& curve, const DeviceCeilings& device, KernelShape shape,
                    double first, double last, const SetSize& set) {
  double worst = 0, before = 0;
  for (double size = first; size <= last; size *= 2) {
    set(shape, size);
    const double time = curve.at(shape, device).time.value();
    if (before > 0) worst = std::max(worst, 1 - time / before);
    before = time;
  }
  return worst;
}

KernelShape gemm_of(const KernelCurve& curve, double m, double n, double k) {
  KernelShape shape;
  shape.m = m;
  shape.n = n;
  shape.k = k;
  shape.weight_bytes = weight_bytes_of(curve.dtype);
  shape.input_bytes = input_bytes_of(curve.dtype);
  return shape;
}

void check_gemm(const KernelCurve& curve, const DeviceCeilings& device) {
  for (const double n : {1024.0, 4096.0, 28672.0}) {
    for (const double k : {1024.0, 7168.0}) {
      CAPTURE(n);
      CAPTURE(k);
      const KernelShape shape = gemm_of(curve, 1, n, k);
      // A step doubles m twice between checks of the fall: tiles of 64 and 128 rows differ.
      CHECK(largest_fall(curve, device, shape, 1, 16384,
                         [](KernelShape& s, double m) { s.m = m; }) < 2.5 * kFall);
      for (const double m : {1024.0, 16384.0}) {
        const KernelShape big = gemm_of(curve, m, n, k);
        CHECK(curve.at(big, device).time.value() > 2 * m * n * k / device.peak / 1.05);
      }
    }
  }
}

void check_message(const KernelCurve& curve, const DeviceCeilings& device) {
  KernelShape shape;
  shape.gpus = 8;
  CHECK(largest_fall(curve, device, shape, 1024, 1 << 30,
                     [](KernelShape& s, double bytes) { s.bytes = bytes; }) < kFall);
}

void check_decode(const KernelCurve& curve, DeviceCeilings device) {
  device.cold = true;
  KernelShape shape;
  shape.heads = 32;
  shape.kv_heads = 8;
  shape.head_dim = 128;
  shape.kv_bytes = curve.dtype.ends_with("fp8") ? 1 : 2;
  for (const double context : {256.0, 4096.0, 65536.0}) {
    CAPTURE(context);
    const auto batch = [context](KernelShape& s, double sequences) {
      s.batch = s.queries = sequences;
      s.kv_tokens = s.pairs_qk = sequences * context;
      s.longest = context;
    };
    CHECK(largest_fall(curve, device, shape, 1, 512, batch) < kFall);
    batch(shape, 512);
    const double bytes = shape.kv_tokens * 2 * shape.kv_heads * shape.head_dim * shape.kv_bytes;
    CHECK(curve.at(shape, device).time.value() > bytes / device.memory_bandwidth / 1.05);
  }
}

}  // namespace

TEST_CASE("every shipped profile is whole, and its curves are physical") {
  const std::vector<ProfileName> names = shipped_profiles();
  CHECK(names.size() >= 11);
  for (const ProfileName& name : names) {
    CAPTURE(name.file.string());
    const KernelProfile profile = load_profile(name.file);
    CHECK(profile.system == name.system);
    CHECK(profile.framework == name.framework);
    CHECK(profile.version == name.version);
    CHECK(!profile.curves.empty());
    CHECK(fs::file_size(name.file) < 150'000);
    const SystemSpec system = load_system(name.system, "", {});
    CHECK(profile.sm_version == system.gpu.sm_version);
    for (const KernelCurve& curve : profile.curves) {
      CAPTURE(curve.op);
      CAPTURE(curve.kernel);
      CAPTURE(curve.dtype);
      const DeviceCeilings device = ceilings_of(system, curve.dtype);
      if (curve.op == "gemm") check_gemm(curve, device);
      if (curve.op == "nccl" && curve.dtype != "nodes") check_message(curve, device);
      if (curve.op == "attention_generation") check_decode(curve, device);
    }
  }
}

TEST_CASE("shipped profiles are what the shared measurements give, byte for byte") {
  const fs::path shared = MOESIM_SHARED_DIR;
  if (!fs::exists(shared / "data" / "ops")) {
    MESSAGE("skipped: no shared measurements beside the project");
    return;
  }
  const fs::path out = fs::temp_directory_path() / "moesim_refit";
  fs::remove_all(out);
  for (const std::string name : {"rtx_4090/vllm-0.19", "a100_sxm/vllm-0.14"}) {
    CAPTURE(name);
    const std::string command = std::string(MOESIM_ROOT) + "/calibrate/fit_all.sh " +
                                MOESIM_PROGRAM + " " + (shared / "data").string() + " " +
                                out.string() + " " + name;
    REQUIRE(std::system(command.c_str()) == 0);
    CHECK(read_file(out / (name + ".json")) ==
          read_file(fs::path(MOESIM_ROOT) / "hardware" / "profiles" / (name + ".json")));
  }
}

}  // namespace moesim
