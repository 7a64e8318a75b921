#include "sim/cli/strict.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <functional>
#include <utility>

namespace moesim {
namespace {

using TermTimes = std::array<double, kTermCount>;

bool is_calibrated(const std::string& provenance) {
  return provenance == provenance_name(Provenance::kMeasured) ||
         provenance == provenance_name(Provenance::kInterpolated);
}

/// Time of the terms over the run, in milliseconds. Waiting for the slowest rank is time of its
/// experts.
TermTimes term_times(const RunResult& result) {
  TermTimes times{};
  for (const PhaseBreakdown& phase : result.breakdown) {
    for (std::size_t i = 0; i < times.size(); ++i)
      times[i] += static_cast<double>(phase.steps) * phase.term_ms[i];
  }
  times[static_cast<std::size_t>(Term::kExpertGemm)] +=
      times[static_cast<std::size_t>(Term::kExposedWait)];
  return times;
}

/// Terms that no kernel is asked for: formulas and constants.
struct Formula {
  Term term;
  Provenance provenance;
};
constexpr Formula kFormulas[] = {{Term::kDispatch, Provenance::kRoofline},
                                 {Term::kCombine, Provenance::kRoofline},
                                 {Term::kExpertCopy, Provenance::kDatasheet},
                                 {Term::kLaunchOverhead, Provenance::kAssumed}};

/// "gemm" of the curve of a report's section `kernels`, as KernelLog has it.
bool answers(const KernelOrigin& origin, const std::string& op) {
  if (op == "moe") return origin.op.starts_with("moe");
  if (op == "all_reduce") return origin.op == "custom_allreduce" || origin.op == "nccl";
  return (origin.op == "stream" ? origin.kernel : origin.op) == op;
}

std::string curves_of(const std::vector<KernelOrigin>& kernels, const std::string& op,
                      Provenance provenance) {
  if (provenance != Provenance::kDonor && provenance != Provenance::kExtrapolated) return "";
  std::vector<std::string> curves;
  for (const KernelOrigin& origin : kernels) {
    if (!answers(origin, op) || origin.donor != (provenance == Provenance::kDonor)) continue;
    std::string text;
    if (origin.op != "stream" && !origin.kernel.empty()) text += origin.kernel + " ";
    if (!origin.dtype.empty()) text += origin.dtype + " ";
    curves.push_back(text + (text.empty() ? "" : "of ") + origin.profile);
    if (op == "all_reduce") break;  // the second answers where the first is not
  }
  return fmt::format("{}", fmt::join(curves, ", "));
}

/// Whole time of a term's operators in the log.
Seconds logged_time(const KernelLog& kernels, Term term) {
  Seconds sum;
  for (const KernelLog::Entry& entry : kernels.entries()) {
    if (entry.term == term) sum += entry.time;
  }
  return sum;
}

std::string hint(const Scenario& scenario, const RunResult& result) {
  const auto roofline = std::ranges::find_if(scenario.kernels, &KernelSource::roofline);
  if (roofline != scenario.kernels.end())
    return fmt::format(
        "system.nodes.{}.kernels: roofline asks for the datasheet; write auto, or leave --strict "
        "out",
        roofline - scenario.kernels.begin());
  std::vector<std::string> systems;
  for (const NodeInfo& node : result.nodes) systems.push_back(node.profile);
  std::vector<std::string> engines;
  for (const InstanceSummary& one : result.instances) {
    const std::string name = fmt::format("{} {}", one.backend, one.backend_version);
    if (std::ranges::find(engines, name) == engines.end()) engines.push_back(name);
  }
  return fmt::format(
      "measure them on {} with {} and fit a kernel profile (moesim fit, calibrate/README.md), "
      "name a nearer one in system.nodes.0.kernels, or leave --strict out",
      fmt::join(systems, ", "), fmt::join(engines, ", "));
}

}  // namespace

std::vector<Uncalibrated> uncalibrated(const RunResult& result, const KernelLog& kernels) {
  const TermTimes times = term_times(result);
  std::vector<Uncalibrated> out;
  const auto add = [&](Term term, const std::string& op, Provenance provenance, double part) {
    const std::string why = provenance_name(provenance);
    const double time = times[static_cast<std::size_t>(term)] * part;
    if (!is_calibrated(why) && time > 0)
      out.push_back({term_name(term), op, why, curves_of(result.kernels, op, provenance), time});
  };
  for (const KernelLog::Entry& entry : kernels.entries())
    add(entry.term, entry.op, entry.provenance, entry.time / logged_time(kernels, entry.term));
  for (const Formula& formula : kFormulas) add(formula.term, "", formula.provenance, 1);
  for (const auto& [provenance, share] : result.provenance) {
    double all = 0;
    for (const Uncalibrated& one : out) all += one.provenance == provenance ? one.share : 0;
    for (Uncalibrated& one : out) {
      if (one.provenance == provenance) one.share *= share / all;
    }
  }
  // A shape that was priced and is no part of any step.
  std::erase_if(out, [&](const Uncalibrated& one) {
    return std::ranges::find(result.provenance, one.provenance, [](const auto& share) {
             return share.first;
           }) == result.provenance.end();
  });
  std::ranges::stable_sort(out, std::greater{}, &Uncalibrated::share);
  return out;
}

std::string refusal(const std::string& name, const Scenario& scenario, const RunResult& result,
                    const KernelLog& kernels) {
  constexpr std::size_t kShown = 8;
  double all = 0;
  std::vector<std::string> classes;
  for (const auto& [provenance, share] : result.provenance) {
    if (is_calibrated(provenance)) continue;
    all += share;
    classes.push_back(fmt::format("{} {:.3g} %", provenance, share * 100));
  }
  if (all <= 0) return "";
  std::string text =
      fmt::format("moesim: {}: {:.3g} % of the step time is not calibrated (--strict): {}\n", name,
                  all * 100, fmt::join(classes, ", "));
  const std::vector<Uncalibrated> operators = uncalibrated(result, kernels);
  for (std::size_t i = 0; i < std::min(kShown, operators.size()); ++i) {
    const Uncalibrated& one = operators[i];
    text += fmt::format("  {:>8.3g} %  {}{}{}: {}{}{}\n", one.share * 100, one.term,
                        one.op.empty() ? "" : ", ", one.op, one.provenance,
                        one.curves.empty() ? "" : ", ", one.curves);
  }
  double rest = 0;
  for (std::size_t i = kShown; i < operators.size(); ++i) rest += operators[i].share;
  if (operators.size() > kShown)
    text += fmt::format("  {:>8.3g} %  {} more\n", rest * 100, operators.size() - kShown);
  return text + "  hint: " + hint(scenario, result) + "\n";
}

}  // namespace moesim
