#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "models/op.h"
#include "sim/base/units.h"

namespace moesim {

struct ModelSpec;

/// Where a number came from: glossary 1. In order of falling trust.
enum class Provenance : std::uint8_t {
  kMeasured,
  kInterpolated,
  kExtrapolated,
  kDonor,
  kRoofline,
  kDatasheet,
  kAssumed,
};
inline constexpr int kProvenanceCount = 7;
[[nodiscard]] const char* provenance_name(Provenance provenance);

struct KernelTime {
  Seconds time;  ///< one execution; `Op::repeat` is not applied
  Provenance provenance = Provenance::kRoofline;
};

/// Two parts of one operator, one after the other: where it is from is the lesser of both.
[[nodiscard]] KernelTime together(const KernelTime& a, const KernelTime& b);

/// Operators whose errors go together: a bias of the expert kernels moves every step alike
/// (steptime.md 4).
enum class OperatorFamily : std::uint8_t {
  kGemm,
  kExperts,
  kAttention,
  kCollective,
  kMemory,  ///< element-wise kernels and sampling
  kHost,    ///< scheduler, launch and input preparation
};
inline constexpr int kFamilyCount = 6;
[[nodiscard]] const char* family_name(OperatorFamily family);

/// Deviation of every family in one replica, in standard deviations of its spread; 0 is nominal.
using FamilyNoise = std::array<double, kFamilyCount>;

/// Spread of what the datasheet prices: a standard deviation of the logarithm, from the roofline's
/// error over the public tables (ACCURACY.md).
inline constexpr double kRooflineSpread = 0.35;

/// Which fitted curve answers for an operator.
struct KernelOrigin {
  std::string op;      ///< family of the samples: "gemm", "moe", "attention_context", ...
  std::string kernel;  ///< "triton"; "" where there is one only
  std::string dtype;
  std::string profile;  ///< "a100_sxm/vllm-0.14"
  bool donor = false;   ///< another system, framework, number format or kernel than asked for
  friend bool operator==(const KernelOrigin&, const KernelOrigin&) = default;
};

/// How long one operator takes on one device. Pure: the same Op, the same answer.
///
/// Implemented by Roofline (datasheet) and Measured (kernel profiles).
class KernelModel {
 public:
  virtual ~KernelModel() = default;
  [[nodiscard]] virtual KernelTime time(const Op& op) const = 0;
  /// Whether prompt chunks and decoding sequences of a step are attended in one call, whose time is
  /// not the sum of both.
  [[nodiscard]] virtual bool attends_mixed_batches() const { return false; }
  /// Prompt chunks and decoding sequences of one layer in a step: the sum of both, unless the
  /// kernels attend them in one call.
  [[nodiscard]] virtual KernelTime mixed_attention(const Op& prompts, const Op& decodes) const;
  /// The curves behind the operators of a model; none where no profile is.
  [[nodiscard]] virtual std::vector<KernelOrigin> origins(const ModelSpec& model) const;
};

}  // namespace moesim
