#pragma once

#include <string>

#include "sim/base/reader.h"

namespace moesim {

/// A required time in seconds, `least` to 10 ms. Outside it the hint says how microseconds are
/// written.
[[nodiscard]] Seconds read_seconds(Reader& in, const std::string& key, double least);

/// A required efficiency, 0.05 to 1. Outside it the hint says how a percentage is written.
[[nodiscard]] double read_ratio(Reader& in, const std::string& key);

}  // namespace moesim
