#include "sim/steptime/kernel_model.h"

#include <algorithm>

namespace moesim {

const char* provenance_name(Provenance provenance) {
  static constexpr const char* kNames[kProvenanceCount] = {
      "measured", "interpolated", "extrapolated", "donor", "roofline", "datasheet", "assumed"};
  return kNames[static_cast<int>(provenance)];
}

const char* family_name(OperatorFamily family) {
  static constexpr const char* kNames[kFamilyCount] = {"gemm",       "experts", "attention",
                                                       "collective", "memory",  "host"};
  return kNames[static_cast<int>(family)];
}

KernelTime together(const KernelTime& a, const KernelTime& b) {
  return {a.time + b.time, std::max(a.provenance, b.provenance)};
}

KernelTime KernelModel::mixed_attention(const Op& prompts, const Op& decodes) const {
  return together(time(prompts), time(decodes));
}

std::vector<KernelOrigin> KernelModel::origins(const ModelSpec&) const {
  return {};
}

}  // namespace moesim
