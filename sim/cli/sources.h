#pragma once

#include <string>

#include "hardware/profile.h"

namespace moesim {

/// `--source NAME,COMMIT,LICENCE` of a command. Throws UsageError.
[[nodiscard]] KernelProfile::Source source_of(const std::string& command, const std::string& text);

}  // namespace moesim
