#pragma once

#include <string>
#include <string_view>

namespace moesim {

/// "text" as a JSON string, quotes included; bytes that are not valid in JSON are escaped.
[[nodiscard]] std::string json_quote(std::string_view text);
/// At most six significant digits: "0.25", "1.5e+08".
[[nodiscard]] std::string json_number(double value);
/// Nanoseconds in a larger unit with `decimals` digits kept: exact times, unlike json_number.
[[nodiscard]] std::string fixed_number(double value, int decimals);

}  // namespace moesim
