#include <iostream>
#include <sstream>

#include "scenarios/load.h"
#include "sim/base/files.h"
#include "sim/build.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"
#include "sim/report/report.h"

namespace moesim {

// Memory is counted, not timed: no kernel is asked, so `--strict` finds nothing to refuse.
int memory_command(const Arguments& args) {
  const Scenario scenario = load_scenario(args.inputs.front(), args.overrides);
  const MemoryReport report = make_memory_report(scenario, lay_out(scenario));
  if (args.save_dir) {
    std::ostringstream text;
    write_json(report, text);
    write_file(*args.save_dir / "memory.json", text.str());
  }
  if (args.format == OutputFormat::kJson) {
    write_json(report, std::cout);
  } else {
    write_text(report, std::cout);
  }
  return report.problems.empty() ? kExitOk : kExitNothingFeasible;
}

}  // namespace moesim
