#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <variant>

// Private to readers of JSON lines: where a value stands, which the parser does not tell.

namespace moesim {

/// A key of an object, or the number of an item of a list.
using JsonStep = std::variant<std::string_view, std::size_t>;

/// The first byte of the value at `path`, from 0; of the deepest value on the way that is there if
/// the rest is not. Precondition: `text` is JSON. A walk over the text: for messages.
[[nodiscard]] std::size_t json_place(std::string_view text, std::span<const JsonStep> path);

/// Why a text is not one JSON object, and where, from 0.
struct JsonFault {
  std::size_t place = 0;
  std::string problem, hint;
};
/// Where it is no JSON any more, or ends too early; a number beyond any double; of another value
/// than an object its first byte. Precondition: the parser did not make an object of it.
[[nodiscard]] JsonFault json_fault(std::string_view text);

}  // namespace moesim
