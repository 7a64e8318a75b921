#include <filesystem>
#include <fmt/format.h>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/fit/fit_profile.h"
#include "calibrate/import/kernel_table.h"
#include "sim/base/files.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"
#include "sim/report/report.h"

namespace moesim {

namespace {

/// "vllm-0.24" -> vllm, 0.24.
std::pair<std::string, std::string> framework_and_version(const std::string& name) {
  const std::size_t dash = name.rfind('-');
  if (dash == std::string::npos || dash == 0 || dash + 1 == name.size())
    throw UsageError(
        fmt::format("fit: --kernels '{}' has no version; write it as vllm-0.24", name));
  return {name.substr(0, dash), name.substr(dash + 1)};
}

/// "repository,commit,licence".
KernelProfile::Source source_of(const std::string& text) {
  const std::size_t first = text.find(',');
  const std::size_t second = first == std::string::npos ? first : text.find(',', first + 1);
  if (second == std::string::npos)
    throw UsageError(fmt::format("fit: --source '{}' is not NAME,COMMIT,LICENCE", text));
  return {text.substr(0, first), text.substr(first + 1, second - first - 1),
          text.substr(second + 1)};
}

}  // namespace

int fit_command(const Arguments& args) {
  KernelProfile profile;
  profile.system = args.system;
  std::tie(profile.framework, profile.version) = framework_and_version(args.kernels);
  profile.provenance.date = args.date;
  profile.provenance.tool = fmt::format("moesim fit {}", tool_version());
  profile.provenance.origin = {"imported"};
  profile.provenance.notes = args.notes;
  for (const std::string& source : args.sources)
    profile.provenance.sources.push_back(source_of(source));
  const SystemSpec system =
      load_system(args.system, std::filesystem::current_path(), {"--system", 0, 0});
  const KernelSamples read = read_kernel_tables({args.inputs.begin(), args.inputs.end()});
  const std::vector<KernelSample> samples =
      select_samples(read.samples, profile.system, profile.framework);
  if (samples.empty())
    throw_input_error({{args.inputs.front(), 0, 0},
                       "",
                       fmt::format("no samples of {} on {}", profile.framework, profile.system),
                       "the tables' column src and the end of their names tell whose they are"});
  fit_profile(samples, system, profile);
  if (!args.quiet) {
    for (const std::string& note : read.notes) std::cerr << "moesim: " << note << '\n';
  }
  if (args.report) write_file(*args.report, fit_report(profile));
  if (args.out) write_file(*args.out, write_profile(profile));
  if (args.out != "-" && !args.quiet) std::cout << fit_report(profile);
  return kExitOk;
}

}  // namespace moesim
