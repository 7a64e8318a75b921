#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <variant>

// Private to readers of JSON lines: where a value stands, which the parser does not tell.

namespace moesim {

/// A key of an object, or the number of an item of a list.
using JsonStep = std::variant<std::string_view, std::size_t>;

/// The first byte of the value at `path`, from 0; of the deepest value on the way that is there if
/// the rest is not. Precondition: `text` is JSON. A walk over the text: for messages.
[[nodiscard]] std::size_t json_place(std::string_view text, std::span<const JsonStep> path);

}  // namespace moesim
