#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moesim {

/// Knots of tables (`log_milli`, thousandths), which are most of a profile, read without a JSON
/// value for each.
struct Knots {
  std::vector<std::vector<int>> lists;
  std::string rest;  ///< the document, with a list's place in `lists` instead of the list
};

/// Nothing if one of the lists is anything but whole numbers: then a JSON parser says what is
/// wrong.
[[nodiscard]] std::optional<Knots> take_knots(std::string_view text);

}  // namespace moesim
