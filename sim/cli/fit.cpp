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
#include "sim/cli/sources.h"
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

/// Where the samples are from: the command line, else what their files say.
void set_provenance(const Arguments& args, const KernelSamples& read, KernelProfile& profile) {
  KernelProfile::Provenance& out = profile.provenance;
  out.tool = fmt::format("moesim fit {}", tool_version());
  out.notes = args.notes;
  if (read.imported || !read.measured) out.origin.emplace_back("imported");
  if (read.measured) out.origin.emplace_back("measured");
  out.date = args.date.empty() ? read.date : args.date;
  out.sources = read.sources;
  if (!args.sources.empty()) out.sources.clear();
  for (const std::string& source : args.sources) out.sources.push_back(source_of("fit", source));
  if (out.date.empty())
    throw UsageError("fit: no --date, and the samples do not say when they were measured");
  if (out.sources.empty())
    throw UsageError("fit: no --source, and the samples do not say where they are from");
}

std::string name_of(const NoCurve& none) {
  std::string name = none.op;
  for (const std::string* part : {&none.kernel, &none.dtype}) {
    if (!part->empty()) name += ' ' + *part;
  }
  return name;
}

/// A profile without curves would say nothing.
[[noreturn]] void no_curves(const Arguments& args, const std::vector<NoCurve>& left_out) {
  std::vector<Diagnostic> mistakes;
  for (const NoCurve& none : left_out) {
    mistakes.push_back({{args.inputs.front(), 0, 0},
                        name_of(none),
                        "no curve can be fitted: " + none.reason,
                        "give more samples of it"});
  }
  throw InputError(std::move(mistakes));
}

}  // namespace

int fit_command(const Arguments& args) {
  KernelProfile profile;
  profile.system = args.system;
  std::tie(profile.framework, profile.version) = framework_and_version(args.kernels);
  const SystemSpec system =
      load_system(args.system, std::filesystem::current_path(), {"--system", 0, 0});
  const KernelSamples read = read_kernel_tables({args.inputs.begin(), args.inputs.end()});
  set_provenance(args, read, profile);
  const std::vector<KernelSample> samples =
      select_samples(read.samples, profile.system, profile.framework);
  if (samples.empty())
    throw_input_error({{args.inputs.front(), 0, 0},
                       "",
                       fmt::format("no samples of {} on {}", profile.framework, profile.system),
                       "the tables' column src and the end of their names tell whose they are"});
  const std::vector<NoCurve> left_out = fit_profile(samples, system, profile);
  if (profile.curves.empty()) no_curves(args, left_out);
  if (!args.quiet) {
    for (const KernelSamples::Note& note : read.notes) std::cerr << "moesim: " << note.text << '\n';
    for (const NoCurve& none : left_out)
      std::cerr << fmt::format("moesim: no curve of {}: {}\n", name_of(none), none.reason);
  }
  if (args.report) write_file(*args.report, fit_report(profile));
  if (args.out) write_file(*args.out, write_profile(profile));
  if (args.out != "-" && !args.quiet) std::cout << fit_report(profile);
  return kExitOk;
}

}  // namespace moesim
