#pragma once

#include "sim/cli/args.h"

namespace moesim {

// One function a command: load, call, write. They return an exit code and throw InputError or
// UsageError.
[[nodiscard]] int run_command(const Arguments& args);
[[nodiscard]] int memory_command(const Arguments& args);
[[nodiscard]] int check_command(const Arguments& args);
[[nodiscard]] int list_command(const Arguments& args);
[[nodiscard]] int diff_command(const Arguments& args);
[[nodiscard]] int fit_command(const Arguments& args);
[[nodiscard]] int import_command(const Arguments& args);
[[nodiscard]] int routing_command(const Arguments& args);
[[nodiscard]] int validate_command(const Arguments& args);

}  // namespace moesim
