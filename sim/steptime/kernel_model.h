#pragma once

#include <cstdint>

#include "models/op.h"
#include "sim/base/units.h"

namespace moesim {

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

/// How long one operator takes on one device. Pure: the same Op, the same answer.
///
/// Implemented by Roofline (datasheet); measured profiles stand behind the same interface.
class KernelModel {
 public:
  virtual ~KernelModel() = default;
  [[nodiscard]] virtual KernelTime time(const Op& op) const = 0;
};

}  // namespace moesim
