#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hardware/kernel_curve.h"
#include "hardware/profile.h"

namespace moesim {

/// Which profile a run asks for.
struct KernelChoice {
  std::string system;     ///< "h200_sxm"
  int sm_version = 0;     ///< 90; donors are near in this
  std::string framework;  ///< "vllm"
  std::string version;    ///< of the engine; the nearest profile of the framework is meant
  /// Kernels of the routed experts: "triton", "cutlass", "deepgemm", "trtllm_gen", "marlin", or
  /// "auto", what the engine would take.
  std::string moe_backend = "auto";
  /// How tokens reach experts on other ranks, a dispatch backend; empty if they do not travel.
  std::string all2all;
  /// A profile file the scenario names; searched before all others. Empty: none.
  std::filesystem::path file;
  bool none = false;   ///< no profiles at all: the datasheet answers everything
  bool donors = true;  ///< may borrow from other systems and frameworks
};

/// A curve for an operator, and where it is from.
struct FoundCurve {
  std::shared_ptr<const KernelCurve> curve;  ///< null: no profile has the operator
  std::string profile;                       ///< "h100_sxm/vllm-0.24"
  bool donor = false;                        ///< another system, framework, number format or kernel
  double extra_spread = 0;  ///< standard deviation the borrowing adds, of the logarithm
};

/// What is looked for: `kernels` and `dtypes` in order of preference; an empty list means any.
struct KernelQuery {
  std::string op;
  std::span<const std::string> kernels, dtypes;
  bool exact_kernel = false;  ///< a kernel that is not named is never taken; else last, as a donor
  /// How many of `dtypes`, from the first on, are the format itself; what follows stands in for it.
  std::size_t own_dtypes = 1;
  /// Experts with a gate, three matrices, or without, two: tables of the one kind never answer for
  /// gated experts, and go by the name "nongated" for the others. Nothing: by their own names.
  std::optional<bool> gated = {};
};

/// Finds measured curves among the shipped profiles: the system's own first, then the nearest donor
/// (same framework on a near GPU, another framework on the same GPU, ...; steptime.md 1). Files are
/// scanned by line and only the curves that are asked for are parsed, once per process; safe to use
/// from several threads.
class KernelLibrary {
 public:
  explicit KernelLibrary(KernelChoice choice);
  ~KernelLibrary();
  KernelLibrary(KernelLibrary&&) noexcept;

  [[nodiscard]] FoundCurve find(const KernelQuery& query) const;
  [[nodiscard]] FoundCurve find(const std::string& op, std::span<const std::string> kernels,
                                std::span<const std::string> dtypes,
                                bool exact_kernel = false) const {
    return find({op, kernels, dtypes, exact_kernel});
  }

 private:
  struct Index;
  std::unique_ptr<Index> index_;
};

}  // namespace moesim
