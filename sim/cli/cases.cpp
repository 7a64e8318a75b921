#include "sim/cli/cases.h"

#include <fmt/format.h>

#include "scenarios/load.h"

namespace moesim {

Scenario load_variant(const Arguments& args, const VariantSpec& variant) {
  std::vector<Override> overrides = args.overrides;
  for (const auto& [path, value] : variant.set)
    overrides.push_back({path, value, fmt::format("variant '{}'", variant.name)});
  return load_scenario(args.inputs.front(), overrides);
}

}  // namespace moesim
