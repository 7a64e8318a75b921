#include <filesystem>
#include <fmt/format.h>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "calibrate/fit/fit_profile.h"
#include "calibrate/import/kernel_table.h"
#include "sim/base/files.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"

namespace moesim {

namespace {

/// "vllm-0.24" -> vllm, 0.24.
std::pair<std::string, std::string> framework_and_version(const std::string& name) {
  const std::size_t dash = name.rfind('-');
  if (dash == std::string::npos || dash + 1 == name.size())
    throw UsageError(
        fmt::format("fit: --kernels '{}' has no version; write it as vllm-0.24", name));
  return {name.substr(0, dash), name.substr(dash + 1)};
}

void print_quality(const KernelProfile& profile, std::ostream& out) {
  out << fmt::format("{:24}{:12}{:18}{:>8}{:>7}  {:>13} {:>13} {:>13}\n", "op", "kernel", "dtype",
                     "points", "shapes", "form left out", "left out", "in sample");
  for (const KernelCurve& c : profile.curves) {
    const FitQuality& q = c.quality;
    out << fmt::format(
        "{:24}{:12}{:18}{:>8}{:>7}  {:5.1f} /{:5.1f} % {:5.1f} /{:5.1f} % {:5.1f} /{:5.1f} %\n",
        c.op, c.kernel, c.dtype, q.points, q.shapes, 100 * q.form_p50, 100 * q.form_p90,
        100 * q.left_p50, 100 * q.left_p90, 100 * q.in_p50, 100 * q.in_p90);
    if (std::getenv("MOESIM_FIT_DEBUG")) {
      for (size_t i = 0; i < c.coefficients.size(); ++i)
        out << fmt::format("   {}={:.4g}", c.form->coefficients[i].name, c.coefficients[i]);
      out << "\n";
    }
  }
}

}  // namespace

int fit_command(const Arguments& args) {
  const auto [framework, version] = framework_and_version(args.kernels);
  const SystemSpec system =
      load_system(args.system, std::filesystem::current_path(), {"--system", 0, 0});
  const KernelSamples read = read_kernel_tables({args.inputs.begin(), args.inputs.end()});
  std::vector<KernelSample> chosen;
  for (const KernelSample& s : read.samples) {
    if (!s.system.empty() && s.system != args.system) continue;
    if (s.framework.empty() || s.framework == framework) chosen.push_back(s);
  }
  KernelProfile profile;
  profile.system = args.system;
  profile.framework = framework;
  profile.version = version;
  profile.sm_version = system.gpu.sm_version;
  profile.curves = fit_curves(chosen, system);
  for (const std::string& note : read.notes) std::cerr << note << '\n';
  if (args.out) write_file(*args.out, write_profile(profile));
  print_quality(profile, std::cout);
  return kExitOk;
}

}  // namespace moesim
