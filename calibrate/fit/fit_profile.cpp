#include "calibrate/fit/fit_profile.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include <map>
#include <tuple>
#include <utility>

#include "calibrate/fit/plans.h"
#include "sim/base/random.h"

namespace moesim {

namespace {

/// Of everything a fit sees, in order.
std::uint64_t digest_of(std::span<const KernelSample> samples) {
  std::uint64_t digest = 0;
  const auto take = [&digest](std::uint64_t word) { digest = mix64(digest ^ word); };
  const auto take_text = [&take](const std::string& text) {
    for (const char c : text) take(static_cast<unsigned char>(c));
  };
  for (const KernelSample& s : samples) {
    for (const std::string* text : {&s.op, &s.kernel, &s.dtype, &s.shape_key}) take_text(*text);
    take(std::bit_cast<std::uint64_t>(s.seconds));
    take(s.suspect ? 1 : 0);
  }
  return digest;
}

/// Why samples of one operator make no curve; empty if they do.
std::string why_no_curve(const CurvePlan& plan, const std::vector<KernelSample>& group) {
  constexpr std::size_t kFewest = 8;  // below that a curve says nothing
  constexpr std::ptrdiff_t kFewestGood = 3;
  if (plan.form == nullptr) return "no form describes this operator";
  if (group.size() < kFewest)
    return fmt::format("{} samples, a curve needs {}", group.size(), kFewest);
  const auto good = std::ranges::count(group, false, &KernelSample::suspect);
  if (good < kFewestGood)
    return fmt::format("{} of {} samples are not suspect, a curve needs {}", good, group.size(),
                       kFewestGood);
  return "";
}

}  // namespace

std::vector<KernelSample> select_samples(std::span<const KernelSample> samples,
                                         const std::string& system, const std::string& framework) {
  std::vector<KernelSample> chosen;
  for (const KernelSample& s : samples) {
    const bool here = s.system.empty() || s.system == system;
    if (here && (s.framework.empty() || s.framework == framework)) chosen.push_back(s);
  }
  return chosen;
}

std::vector<NoCurve> fit_profile(std::span<const KernelSample> samples, const SystemSpec& system,
                                 KernelProfile& profile) {
  std::vector<NoCurve> left_out;
  std::map<std::tuple<std::string, std::string, std::string>, std::vector<KernelSample>> groups;
  for (const KernelSample& s : samples) groups[{s.op, s.kernel, s.dtype}].push_back(s);
  for (const auto& [key, group] : groups) {
    const auto& [op, kernel, dtype] = key;
    const CurvePlan plan = plan_for(op, kernel, dtype);
    if (std::string reason = why_no_curve(plan, group); !reason.empty()) {
      left_out.push_back({op, kernel, dtype, group.size(), std::move(reason)});
      continue;
    }
    profile.curves.push_back(fit_curve(group, ceilings_of(system, dtype), plan));
  }
  profile.sm_version = system.gpu.sm_version;
  profile.provenance.samples_digest = fmt::format("{:016x}", digest_of(samples));
  return left_out;
}

std::string fit_report(const KernelProfile& profile) {
  std::string text = fmt::format(
      "# {}/{}-{}\n\nAbsolute error in percent, median / p90; shapes left out in five folds.\n\n"
      "| op | kernel | dtype | points | shapes | form, left out | left out | in sample |\n"
      "|---|---|---|---:|---:|---:|---:|---:|\n",
      profile.system, profile.framework, profile.version);
  for (const KernelCurve& c : profile.curves) {
    const FitQuality& q = c.quality;
    text += fmt::format(
        "| {} | {} | {} | {} | {} | {:.1f} / {:.1f} | {:.1f} / {:.1f} | {:.1f} / {:.1f} |\n", c.op,
        c.kernel, c.dtype, q.points, q.shapes, 100 * q.form_p50, 100 * q.form_p90, 100 * q.left_p50,
        100 * q.left_p90, 100 * q.in_p50, 100 * q.in_p90);
  }
  return text;
}

}  // namespace moesim
