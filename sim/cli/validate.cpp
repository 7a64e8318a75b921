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

namespace moesim {

int validate_command(const Arguments& args) {
  const std::string& kind = args.inputs.front();
  if (kind != "e2e")
    throw UsageError(
        fmt::format("validate: unknown kind '{}'; {}", kind, nearest_name_hint(kind, {"e2e"})));
  const Validation validation = validate_e2e({args.inputs.begin() + 1, args.inputs.end()});
  if (args.json) {
    std::ostringstream text;
    write_json(validation, text);
    write_file(*args.json, text.str());
  }
  if (args.format == OutputFormat::kJson) {
    write_json(validation, std::cout);
  } else {
    write_text(validation, std::cout);
  }
  return kExitOk;
}

}  // namespace moesim
