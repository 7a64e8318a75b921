#include "calibrate/fit/fit_profile.h"

#include <map>
#include <tuple>

#include "calibrate/fit/plans.h"

namespace moesim {

std::vector<KernelCurve> fit_curves(std::span<const KernelSample> samples,
                                    const SystemSpec& system) {
  std::map<std::tuple<std::string, std::string, std::string>, std::vector<KernelSample>> groups;
  for (const KernelSample& s : samples) groups[{s.op, s.kernel, s.dtype}].push_back(s);
  std::vector<KernelCurve> curves;
  constexpr std::size_t kFewest = 8;  ///< below that a curve says nothing
  for (const auto& [key, group] : groups) {
    const auto& [op, kernel, dtype] = key;
    const CurvePlan plan = plan_for(op, kernel, dtype);
    if (plan.form == nullptr || group.size() < kFewest) continue;
    curves.push_back(fit_curve(group, ceilings_of(system, dtype), plan));
  }
  return curves;
}

}  // namespace moesim
