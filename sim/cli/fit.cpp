#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <iostream>
#include <optional>
#include <set>
#include <string>
#include <tuple>
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

/// "vllm-0.24" -> vllm, 0.24; nothing if one of the two is missing.
std::optional<std::pair<std::string, std::string>> framework_and_version(const std::string& name) {
  const std::size_t dash = name.rfind('-');
  if (dash == std::string::npos || dash == 0 || dash + 1 == name.size()) return std::nullopt;
  return std::pair(name.substr(0, dash), name.substr(dash + 1));
}

/// Samples of a system; those that name none belong to every one.
std::vector<const KernelSample*> samples_of(const KernelSamples& read, const std::string& system) {
  std::vector<const KernelSample*> here;
  for (const KernelSample& sample : read.samples) {
    if (sample.system.empty() || sample.system == system) here.push_back(&sample);
  }
  return here;
}

/// Frameworks of the samples of a system.
std::set<std::string> frameworks_of(const KernelSamples& read, const std::string& system) {
  std::set<std::string> names;
  for (const KernelSample* sample : samples_of(read, system)) {
    if (!sample->framework.empty()) names.insert(sample->framework);
  }
  return names;
}

/// Whose kernels they are, as the samples say it, or why they do not.
struct Kernels {
  std::string name;     ///< "vllm-0.24.0"
  std::string problem;  ///< instead
};
Kernels kernels_of(const KernelSamples& read, const std::string& system) {
  const std::set<std::string> frameworks = frameworks_of(read, system);
  if (frameworks.empty())
    return {"", "the samples name no framework; write it as --kernels vllm-0.24"};
  if (frameworks.size() > 1)
    return {"", fmt::format("the samples are of {}; write one, as --kernels {}-VERSION",
                            fmt::join(frameworks, ", "), *frameworks.begin())};
  const std::string& framework = *frameworks.begin();
  const auto versions = read.versions.find(framework);
  if (versions == read.versions.end())
    return {"", fmt::format("the samples are of {}, and do not say of which version; write it as "
                            "--kernels {}-VERSION",
                            framework, framework)};
  if (versions->second.size() > 1)
    return {"",
            fmt::format("the samples are of {} {}; write one, as --kernels {}-{}", framework,
                        fmt::join(versions->second, ", "), framework, *versions->second.rbegin())};
  return {framework + "-" + *versions->second.begin(), ""};
}

/// Sets whose kernels they are and where they are from: the command line says it, else the samples
/// do. Throws UsageError with all that neither says.
void set_names(const Arguments& args, const KernelSamples& read, KernelProfile& profile) {
  std::vector<std::string> problems;
  Kernels kernels{args.kernels, ""};
  if (args.kernels.empty()) kernels = kernels_of(read, profile.system);
  if (!kernels.problem.empty()) problems.push_back("no --kernels, and " + kernels.problem);
  if (const auto names = framework_and_version(kernels.name))
    std::tie(profile.framework, profile.version) = *names;
  else if (kernels.problem.empty())
    problems.push_back(
        fmt::format("--kernels '{}' has no version; write it as vllm-0.24", kernels.name));
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
    problems.emplace_back("no --date, and the samples do not say when they were measured");
  if (out.sources.empty())
    problems.emplace_back("no --source, and the samples do not say where they are from");
  if (!problems.empty()) throw UsageError(fmt::format("fit: {}", fmt::join(problems, "\nfit: ")));
}

std::string name_of(const NoCurve& none) {
  std::string name = none.op;
  for (const std::string* part : {&none.kernel, &none.dtype}) {
    if (!part->empty()) name += ' ' + *part;
  }
  return name;
}

[[noreturn]] void no_samples(const Arguments& args, const std::string& whose) {
  throw_input_error({{args.inputs.front(), 0, 0},
                     "",
                     "no samples of " + whose,
                     "the tables' column src and the end of their names tell whose they are"});
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
  const SystemSpec system =
      load_system(args.system, std::filesystem::current_path(), {"--system", 0, 0});
  profile.system = system.name;  // of a file, too: kernels are looked up by it
  const KernelSamples read = read_kernel_tables({args.inputs.begin(), args.inputs.end()});
  if (samples_of(read, profile.system).empty()) no_samples(args, profile.system);
  set_names(args, read, profile);
  const std::vector<KernelSample> samples =
      select_samples(read.samples, profile.system, profile.framework);
  if (samples.empty()) no_samples(args, fmt::format("{} on {}", profile.framework, profile.system));
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
