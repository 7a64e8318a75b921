// How well DeepEP's curves tell what they have not seen: token counts and node counts left out of
// the fit, over every system measured.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "calibrate/fit/curve_fit.h"
#include "calibrate/fit/plans.h"
#include "calibrate/import/kernel_table.h"
#include "hardware/dtypes.h"
#include "sim/base/stats.h"

using namespace moesim;

namespace {

using Samples = std::vector<KernelSample>;

/// By "op kernel".
std::map<std::string, Samples> measured(const std::string& system) {
  std::map<std::string, Samples> out;
  for (const std::string mode : {"normal", "ll"}) {
    const std::filesystem::path path = std::filesystem::path(MOESIM_SHARED_DIR) / "data" / "ops" /
                                       ("deepep_" + mode + "_" + system + ".csv");
    if (!std::filesystem::exists(path)) continue;
    for (KernelSample& sample : read_kernel_table(path).samples)
      out[sample.op + " " + sample.kernel].push_back(std::move(sample));
  }
  return out;
}

struct Errors {
  double p50 = 0, p90 = 0;
};

/// Errors on samples of each part in turn, told by a fit to the others.
Errors left_out(const Samples& samples, const DeviceCeilings& device,
                const std::function<int(const KernelSample&)>& part) {
  std::set<int> parts;
  for (const KernelSample& sample : samples) parts.insert(part(sample));
  std::vector<double> errors;
  for (const int out : parts) {
    Samples kept, rest;
    for (const KernelSample& sample : samples)
      (part(sample) == out ? rest : kept).push_back(sample);
    const KernelCurve curve =
        fit_curve(kept, device, plan_for(kept.front().op, kept.front().kernel, kept.front().dtype));
    for (const KernelSample& sample : rest)
      errors.push_back(std::abs(std::expm1(log_error(curve, sample, device))));
  }
  std::ranges::sort(errors);
  return {percentile(errors, 50), percentile(errors, 90)};
}

}  // namespace

TEST_CASE("token counts left out of a fit are told to 5 % in the middle and 12 % at the 90th") {
  bool found = false;
  for (const std::string system : {"h100_sxm", "h200_sxm", "b200_sxm"}) {
    for (const auto& group : measured(system)) {
      CAPTURE(system);
      CAPTURE(group.first);
      const Samples& samples = group.second;
      found = true;
      std::set<double> counts;
      for (const KernelSample& sample : samples) counts.insert(sample.shape.tokens);
      // Every fifth count: the least and its neighbour are never left out together.
      const auto fold = [&](const KernelSample& sample) {
        const auto at = counts.find(sample.shape.tokens);
        return static_cast<int>(std::distance(counts.begin(), at)) % 5;
      };
      const DeviceCeilings device =
          ceilings_of(load_system(system, ".", Where()), samples.front().dtype);
      const Errors errors = left_out(samples, device, fold);
      CHECK(errors.p50 < 0.05);
      CHECK(errors.p90 < 0.12);
    }
  }
  if (!found) MESSAGE("skipped: no measurements in ../shared/data/ops");
}

// Two and eight nodes are all there is, and the eight are of a congested cluster: one says little
// of the other. Normal mode is read off its curve for up to two nodes only, the links tell the rest
// (hardware/dispatch_relays.cpp); what comes of both is held against published times in
// tests/hardware/dispatch_published_test.cpp. A better form shows here.
TEST_CASE("one number of nodes tells another no worse than it does") {
  const auto all = measured("h100_sxm");
  if (all.empty()) MESSAGE("skipped: no measurements in ../shared/data/ops");
  const std::map<std::string, double> middles = {{"deepep_ll internode_dispatch", 0.08},
                                                 {"deepep_ll internode_combine", 0.25},
                                                 {"deepep_normal internode_dispatch", 0.24},
                                                 {"deepep_normal internode_combine", 0.28}};
  for (const auto& middle : middles) {
    if (all.empty()) break;
    CAPTURE(middle.first);
    const Samples& samples = all.at(middle.first);
    const DeviceCeilings device =
        ceilings_of(load_system("h100_sxm", ".", Where()), samples.front().dtype);
    const Errors errors = left_out(samples, device, [](const KernelSample& sample) {
      return static_cast<int>(sample.shape.nodes);
    });
    CHECK(errors.p50 < middle.second);
  }
}
