#pragma once

#include <optional>

#include "sim/report/result.h"
#include "sim/report/run_view.h"

namespace moesim {

/// What routing did to the run, layer by layer, over all instances. Nothing for dense models.
[[nodiscard]] std::optional<MoeSection> make_moe(const RunView& view);

}  // namespace moesim
