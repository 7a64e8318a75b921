#pragma once

#include "scenarios/scenario.h"
#include "sim/cli/commands.h"

namespace moesim {

/// The scenario of the command line with a variant's changes on top. Throws InputError.
[[nodiscard]] Scenario load_variant(const Arguments& args, const VariantSpec& variant);

}  // namespace moesim
