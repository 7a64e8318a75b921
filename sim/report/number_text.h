#pragma once

#include <string>

namespace moesim {

/// Three significant digits with thousands in groups: "0.0123", "12.3", "1234", "56,789".
[[nodiscard]] std::string short_number(double value);
/// "12.3 %" for 0.123.
[[nodiscard]] std::string percent(double ratio);

}  // namespace moesim
