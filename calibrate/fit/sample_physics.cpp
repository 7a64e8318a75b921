#include "calibrate/fit/sample_physics.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <optional>
#include <tuple>

#include "hardware/dtypes.h"
#include "hardware/kernel_floor.h"
#include "hardware/system.h"

namespace moesim {

namespace {

struct Group {
  std::size_t samples = 0, fast = 0;
  double worst = 0;       ///< least time over measured time
  std::size_t which = 0;  ///< the sample of it, from 1
};

/// Nothing if no such system is shipped.
std::optional<SystemSpec> shipped_system(const std::string& name) {
  const std::vector<std::string> names = shipped_systems();
  if (std::ranges::find(names, name) == names.end()) return std::nullopt;
  return load_system(name, "", {});
}

}  // namespace

std::vector<std::string> check_sample_physics(std::span<const KernelSample> samples) {
  std::map<std::string, std::optional<SystemSpec>> systems;
  std::map<std::tuple<std::string, std::string, std::string, std::string>, Group> groups;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const KernelSample& s = samples[i];
    if (s.suspect || s.system.empty()) continue;
    const auto [system, fresh] = systems.try_emplace(s.system);
    if (fresh) system->second = shipped_system(s.system);
    if (!system->second) continue;
    Group& group = groups[{s.system, s.op, s.kernel, s.dtype}];
    ++group.samples;
    const Seconds least = least_time(s.op, s.shape, ceilings_of(*system->second, s.dtype));
    const double ratio = least.value() / s.seconds;
    if (ratio > kDatasheetMargin) ++group.fast;
    if (ratio > group.worst) {
      group.worst = ratio;
      group.which = i + 1;
    }
  }
  std::vector<std::string> findings;
  for (const auto& [name, system] : systems) {
    if (!system) findings.push_back(fmt::format("system {} is not shipped: not judged", name));
  }
  for (const auto& [key, group] : groups) {
    if (group.fast == 0) continue;
    const auto& [system, op, kernel, dtype] = key;
    findings.push_back(fmt::format(
        "{} {} {} {}: {} of {} samples are faster than the datasheet by over {:.0f} %, the worst "
        "{:.2f} times (sample {})",
        system, op, kernel, dtype, group.fast, group.samples, 100 * (kDatasheetMargin - 1),
        group.worst, group.which));
  }
  return findings;
}

}  // namespace moesim
