#include "sim/steptime/kernel_model.h"

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

}  // namespace moesim
