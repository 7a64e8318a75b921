#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/validation/memory_rows.h"

namespace moesim {

/// A measured configuration in our terms.
struct MeasuredSetup {
  std::string problem;  ///< why there is no scenario, in a sentence; else empty
  std::string
      card_problem;  ///< why `scenario` stands on another card: only weights can be compared
  std::string system, engine;        ///< of groups: "h100_sxm" (empty if not ours), "vllm 0.15"
  std::vector<std::string> assumed;  ///< what the row leaves out and we filled in, in words
  std::vector<std::string> assumed_engine;  ///< the same, of settings that weights do not depend on
  std::optional<Scenario> scenario;
};

/// The scenario of a row, through the same loader and defaults as a user's file.
[[nodiscard]] MeasuredSetup set_up(const MemoryRow& row);

}  // namespace moesim
