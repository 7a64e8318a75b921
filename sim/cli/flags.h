#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "scenarios/scenario.h"

namespace moesim {

/// A flag that is short for a `--set` (glossary 3). Names and meanings are vLLM's.
struct Flag {
  enum class Kind {
    kNumber,   ///< takes a number
    kText,     ///< takes text
    kYaml,     ///< takes JSON or YAML
    kSwitch,   ///< takes nothing: true
    kToggle,   ///< as kSwitch, and --no-NAME: false
    kList,     ///< takes one or more values
    kSpecial,  ///< takes text; `flag_overrides` knows what it means
  };
  const char* name;  ///< without "--"
  Kind kind;
  const char* path;  ///< of the scenario; empty for kSpecial
  const char* help;
};
[[nodiscard]] std::span<const Flag> engine_flags();
[[nodiscard]] std::span<const Flag> load_flags();

/// Values by flag name (lists joined by spaces, switches "true" or "false").
using FlagValues = std::map<std::string, std::string>;

/// The scenario keys these flags set, in the order they have to be applied. Throws UsageError for a
/// value that cannot be right whatever the scenario.
[[nodiscard]] std::vector<Override> flag_overrides(const FlagValues& values);

/// Throws UsageError if a later option sets again what an earlier one has set, which would then
/// have no effect. Widening is none: `workload.trace=FILE`, then `workload.trace.rate_scale=2`.
void reject_overridden(const std::vector<Override>& overrides);

}  // namespace moesim
