#include <fmt/format.h>
#include <iostream>
#include <sstream>

#include "scenarios/load.h"
#include "sim/base/files.h"
#include "sim/build.h"
#include "sim/cli/cases.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"
#include "sim/report/report.h"

namespace moesim {

// Memory is counted, not timed: no kernel is asked, so `--strict` finds nothing to refuse.
int memory_command(const Arguments& args) {
  const Scenario scenario = load_scenario(args.inputs.front(), args.overrides);
  const MemoryReport report = make_memory_report(scenario, lay_out(scenario));
  std::vector<MemoryVariant> variants;
  for (const VariantSpec& variant : scenario.variants) {
    const Scenario changed = load_variant(args, variant);
    variants.push_back({variant.name, make_memory_report(changed, lay_out(changed))});
  }
  if (args.save_dir) {
    std::ostringstream text;
    write_json(report, variants, text);
    write_file(*args.save_dir / "memory.json", text.str());
  }
  if (args.format == OutputFormat::kJson) {
    write_json(report, variants, std::cout);
  } else {
    write_text(report, std::cout);
    for (const MemoryVariant& variant : variants) {
      std::cout << fmt::format("\n{}: ", variant.name);
      write_text(variant.report, std::cout);
    }
  }
  return report.problems.empty() ? kExitOk : kExitNothingFeasible;
}

}  // namespace moesim
