#include <filesystem>
#include <fmt/format.h>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "sim/base/diagnostic.h"
#include "sim/base/files.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"
#include "sim/validation/validate_e2e.h"
#include "sim/validation/validate_runs.h"

namespace moesim {

namespace {

Validation validation_of(const Arguments& args) {
  const std::string& kind = args.inputs.front();
  const std::vector<std::filesystem::path> data(args.inputs.begin() + 1, args.inputs.end());
  if (kind == "runs") return validate_runs(data, args.jobs);
  if (kind == "e2e") return validate_e2e(data);
  throw UsageError(fmt::format("validate: unknown kind '{}'; {}", kind,
                               nearest_name_hint(kind, {"runs", "e2e"})));
}

}  // namespace

int validate_command(const Arguments& args) {
  const Validation validation = validation_of(args);
  if (args.json) {
    std::ostringstream text;
    write_json(validation, text);
    write_file(*args.json, text.str());
  }
  if (args.format == OutputFormat::kJson) {
    write_json(validation, std::cout);
  } else if (args.inputs.front() == "runs") {
    write_runs_text(validation, std::cout);
  } else {
    write_text(validation, std::cout);
  }
  return kExitOk;
}

}  // namespace moesim
