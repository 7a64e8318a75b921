#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <unistd.h>
#include <variant>

#include "sim/base/diagnostic.h"
#include "sim/base/heap.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"

namespace moesim {
namespace {

struct Command {
  const char* name;
  int (*run)(const Arguments&);
};
constexpr std::array kCommands{
    Command{"run", run_command},        Command{"memory", memory_command},
    Command{"check", check_command},    Command{"list", list_command},
    Command{"diff", diff_command},      Command{"import", import_command},
    Command{"fit", fit_command},        Command{"validate", validate_command},
    Command{"routing", routing_command}};

/// A broken invariant aborts (sim/base/check.h); its exit code is ours.
void on_abort(int) {
  _exit(kExitInternal);
}

int run(int argc, const char* const* argv) {
  const std::variant<Arguments, Information> parsed = parse_arguments(argc, argv);
  if (const auto* information = std::get_if<Information>(&parsed)) {
    std::cout << information->text;
    return kExitOk;
  }
  const auto& args = std::get<Arguments>(parsed);
  for (const Command& command : kCommands) {
    if (args.command == command.name) return command.run(args);
  }
  throw UsageError("unknown command '" + args.command + "'");
}

void print_mistakes(const InputError& error) {
  for (const Diagnostic& diagnostic : error.diagnostics()) std::cerr << to_text(diagnostic) << '\n';
}

int run_and_report(int argc, const char* const* argv) {
  try {
    const int code = run(argc, argv);
    if (!std::cout.flush()) {
      std::cerr << "moesim: standard output could not be written\n";
      return kExitBadInput;
    }
    return code;
  } catch (const UsageError& error) {
    std::cerr << "moesim: " << error.what() << '\n';
    return kExitUsage;
  } catch (const InputError& error) {
    print_mistakes(error);
    return kExitBadInput;
  } catch (const std::exception& error) {
    std::cerr << "moesim: internal error: " << error.what() << '\n';
    return kExitInternal;
  }
}

}  // namespace

}  // namespace moesim

int main(int argc, char** argv) {
  moesim::prepare_heap();
  std::ios::sync_with_stdio(false);
  std::signal(SIGABRT, moesim::on_abort);
  return moesim::run_and_report(argc, argv);
}
