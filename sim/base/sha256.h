#pragma once

#include <string>
#include <string_view>

namespace moesim {

/// SHA-256 of some bytes (FIPS 180-4) as 64 hexadecimal digits: says which file a number came from.
[[nodiscard]] std::string sha256(std::string_view bytes);

}  // namespace moesim
