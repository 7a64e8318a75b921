#pragma once

#include "sim/base/reader.h"

namespace moesim {

/// Plausible values of config.json. Their product bounds every count below 2^63, so that no sum
/// overflows.
inline constexpr Range kLayerRange{.min = 1, .max = 1024};
inline constexpr Range kHiddenRange{.min = 1, .max = 131072};
inline constexpr Range kWidthRange{.min = 1, .max = 1048576};
inline constexpr Range kHeadsRange{.min = 1, .max = 1024};
inline constexpr Range kHeadDimRange{.min = 1, .max = 1024};
inline constexpr Range kRankRange{.min = 1, .max = 65536};
inline constexpr Range kVocabRange{.min = 1, .max = 16777216};
inline constexpr Range kLengthRange{.min = 1, .max = 1e9};
inline constexpr Range kExpertsRange{.min = 1, .max = 4096};
inline constexpr Range kCountRange{.min = 0, .max = 1024};
inline constexpr Range kIndexRange{.min = -1, .max = 1024};
inline constexpr Range kStateRange{.min = 1, .max = 4096};

}  // namespace moesim
