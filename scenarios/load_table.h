#pragma once

#include <filesystem>
#include <vector>

#include "scenarios/routing_table.h"

namespace moesim {

/// Tokens (or weights) of the experts of every layer, [layer][expert], of a model of this shape.
/// The file is a CSV with columns `layer`, `expert`, `count` (others are ignored; MoE layers and
/// experts from 0; one row for each at most, absent ones are 0), or a step-load trace, whose steps
/// are summed. Throws InputError with all mistakes: another model's trace, a layer or an expert the
/// model does not have, a layer with fewer than top_k experts in use.
[[nodiscard]] std::vector<std::vector<double>> read_load_table(const std::filesystem::path& path,
                                                               const RoutingShape& shape);

}  // namespace moesim
