#pragma once

#include <string>
#include <vector>

#include "sim/report/run_view.h"

namespace moesim {

/// The engine's own launch command and its own benchmark that would measure what was predicted;
/// lines that start with "#" say where the two differ from the simulation. Empty for a backend
/// without commands of its own.
[[nodiscard]] std::vector<std::string> reproduce_commands(const RunView& view);

}  // namespace moesim
