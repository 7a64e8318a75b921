#include "sim/validation/goals.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

namespace moesim {
namespace {

struct NamedGoal {
  std::string_view name;
  ErrorGoal goal;
};

/// steptime.md 2, column "goal", by operator; the noise floor stands there too.
constexpr std::array kOperators = {
    NamedGoal{"moe", {0.05, 0.20}},
    NamedGoal{"moe_deepgemm", {0.05, 0.20}},
    NamedGoal{"gemm", {0.04, 0.13}},
    NamedGoal{"attention_generation", {0.03, 0.12}},
    NamedGoal{"attention_context", {0.04, 0.15}},
    NamedGoal{"mla_generation", {0.06, 0.20}},
    NamedGoal{"mla_context", {0.06, 0.20}},
    NamedGoal{"mla_bmm", {0.06, 0.20}},
    NamedGoal{"nccl", {0.06, 0.20}},
    NamedGoal{"custom_allreduce", {0.06, 0.20}},
    NamedGoal{"deepep_normal", {0.05, 0.12}},
    NamedGoal{"deepep_ll", {0.05, 0.12}},
    NamedGoal{"stream", {0.10, 0.30}},
    NamedGoal{"sampler", {0.10, 0.30}},
};
/// Expert kernels of vLLM on A100 are noisier between releases than the others.
constexpr ErrorGoal kMoeOfA100Vllm{0.08, 0.30};

/// Published operating points, by quantity (the metric up to its statistic), for mean and median
/// over requests.
constexpr std::array kServing = {
    NamedGoal{"output_tok_s", {0.05, 0.15}},
    NamedGoal{"tpot", {0.07, 0.15}},
    NamedGoal{"e2e", {0.07, 0.16}},
    NamedGoal{"ttft", {0.15, 0.35}},
};
constexpr double kRank = 0.95;        ///< Spearman's, of throughput across layouts
constexpr double kExpressible = 0.9;  ///< of rows of plain engines
/// 80 % in truth; a few dozen to thousands of points scatter around it.
constexpr double kCoverageLow = 0.75, kCoverageHigh = 0.85;

constexpr double kRunStatistic = 0.03, kRunMeanTtft = 0.04;
constexpr std::array<std::string_view, 4> kRunStatistics = {"mean", "p50", "p90", "p99"};

constexpr double kNoBound = std::numeric_limits<double>::infinity();

GoalCheck at_most(const ErrorGroup& group, const char* what, double reached, double goal) {
  return {group.name, group.metric, what, group.n, reached, -kNoBound, goal};
}

const ErrorGroup* find(const Validation& validation, const std::string& name,
                       const std::string& metric) {
  const auto found = std::ranges::find_if(validation.groups, [&](const ErrorGroup& group) {
    return group.name == name && group.metric == metric;
  });
  return found == validation.groups.end() ? nullptr : &*found;
}

void add_coverage(const Validation& validation, std::vector<GoalCheck>& out) {
  for (const IntervalCoverage& group : validation.coverage) {
    if (group.name == "pooled")
      out.push_back({group.name, group.metric, "inside P10-P90", group.n, group.share, kCoverageLow,
                     kCoverageHigh});
  }
}

}  // namespace

std::optional<ErrorGoal> operator_goal(const LeftOutCurve& curve) {
  if (curve.op == "moe" && curve.profile.starts_with("a100_sxm/vllm")) return kMoeOfA100Vllm;
  const auto* const found = std::ranges::find(kOperators, curve.op, &NamedGoal::name);
  return found == kOperators.end() ? std::nullopt : std::optional(found->goal);
}

bool meets(const LeftOutCurve& curve, const ErrorGoal& goal) {
  return curve.median_ape <= goal.median && curve.p90_ape <= goal.p90;
}

std::vector<GoalCheck> run_goals(const Validation& validation) {
  std::vector<GoalCheck> out;
  for (const ErrorGroup& group : validation.groups) {
    const std::size_t cut = group.metric.find('_');
    if (cut == std::string::npos) continue;
    if (std::ranges::find(kRunStatistics, std::string_view(group.metric).substr(cut + 1)) ==
        kRunStatistics.end())
      continue;
    const double goal = group.metric == "ttft_mean" ? kRunMeanTtft : kRunStatistic;
    out.push_back(at_most(group, "|e|", group.median_ape, goal));
  }
  return out;
}

std::vector<GoalCheck> serving_goals(const Validation& validation) {
  std::vector<GoalCheck> out;
  for (const NamedGoal& quantity : kServing) {
    for (const ErrorGroup& group : validation.groups) {
      if (group.name != kTrustedMoe || !group.metric.starts_with(quantity.name)) continue;
      if (group.metric.ends_with("_p90") || group.metric.ends_with("_p99")) continue;
      out.push_back(at_most(group, "median |e|", group.median_ape, quantity.goal.median));
      out.push_back(at_most(group, "p90 |e|", group.p90_ape, quantity.goal.p90));
      if (const ErrorGroup* dense = find(validation, kTrustedDense, group.metric))
        out.push_back(at_most(*dense, "median |e|", dense->median_ape, group.median_ape));
    }
  }
  for (const RankCorrelation& rank : validation.ranks) {
    if (rank.name == kTrustedMoe)
      out.push_back(
          {rank.name, rank.metric, "median Spearman", rank.n, rank.spearman, kRank, kNoBound});
  }
  add_coverage(validation, out);
  if (const auto& plain = validation.plain_engines; plain.rows > 0) {
    out.push_back({"plain engines", "rows", "expressible", plain.rows,
                   static_cast<double>(plain.expressed) / static_cast<double>(plain.rows),
                   kExpressible, kNoBound});
  }
  return out;
}

std::vector<GoalCheck> kernel_goals(const Validation& validation) {
  std::vector<GoalCheck> out;
  add_coverage(validation, out);
  return out;
}

}  // namespace moesim
