#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "hardware/kernel_curve.h"

namespace moesim {

/// A kernel profile: fitted costs of one framework's kernels on one system
/// (hardware/profiles/SYSTEM/FRAMEWORK-VERSION.json; schema in hardware/README.md).
struct KernelProfile {
  std::string system;     ///< "h100_sxm"
  std::string framework;  ///< "vllm", "sglang", "trtllm", "native"
  std::string version;    ///< "0.24"
  int sm_version = 0;     ///< of the system: tells near donors from far ones
  struct Source {
    std::string name;  ///< repository or table
    std::string commit;
    std::string license;
    friend bool operator==(const Source&, const Source&) = default;
  };
  struct Provenance {
    std::string date, tool;
    std::vector<std::string> origin;  ///< "imported" or "measured"
    std::vector<Source> sources;
    std::string samples_digest;  ///< of the samples fitted, in order: 64-bit FNV-1a, hexadecimal
    std::string notes;
  } provenance;
  std::vector<KernelCurve> curves;

  /// The curve of an operator; "" for kernel matches any, the one with most points first. Null if
  /// none.
  [[nodiscard]] const KernelCurve* find(std::string_view op, std::string_view kernel,
                                        std::string_view dtype) const;
};

/// Throws InputError with every mistake found: unknown keys, numbers that are not finite, sizes
/// that do not match, an unknown form, coefficients outside their range.
[[nodiscard]] KernelProfile read_profile(const std::string& text, const std::string& file);
[[nodiscard]] KernelProfile load_profile(const std::filesystem::path& file);
/// The document, one curve a line, numbers at most six significant digits: the same profile, the
/// same bytes.
[[nodiscard]] std::string write_profile(const KernelProfile& profile);

/// Shipped profiles, by file name only; nothing is read.
struct ProfileName {
  std::string system, framework, version;
  std::filesystem::path file;
};
[[nodiscard]] std::vector<ProfileName> shipped_profiles();

}  // namespace moesim
