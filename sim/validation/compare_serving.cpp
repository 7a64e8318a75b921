#include "sim/validation/compare_serving.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "sim/validation/published_names.h"
#include "sim/validation/serving_plan.h"

namespace moesim {
namespace {

struct Quantity {
  std::string_view name;
  std::optional<Summary> PredictedRun::*summary;
};
constexpr std::array kQuantities = {
    Quantity{"ttft", &PredictedRun::ttft_ms}, Quantity{"tpot", &PredictedRun::tpot_ms},
    Quantity{"itl", &PredictedRun::itl_ms}, Quantity{"e2e", &PredictedRun::e2e_ms}};
struct Statistic {
  std::string_view name;
  double Summary::*value;
};
constexpr std::array kStatistics = {
    Statistic{"mean", &Summary::mean}, Statistic{"p50", &Summary::p50},
    Statistic{"p90", &Summary::p90}, Statistic{"p99", &Summary::p99}};

/// The predicted value of a metric such as "ttft_p50"; nothing if the run does not have it.
std::optional<double> predicted_value(const PredictedRun& run, const std::string& metric) {
  if (metric == "output_tok_s") return run.output_tok_s;
  if (metric == "total_tok_s") return run.total_tok_s;
  if (metric == "input_tok_s" && run.total_tok_s && run.output_tok_s)
    return *run.total_tok_s - *run.output_tok_s;
  const std::size_t cut = metric.find('_');
  const auto* const quantity =
      std::ranges::find(kQuantities, metric.substr(0, cut), &Quantity::name);
  const auto* const statistic =
      std::ranges::find(kStatistics, metric.substr(cut + 1), &Statistic::name);
  if (quantity == kQuantities.end() || statistic == kStatistics.end()) return std::nullopt;
  const std::optional<Summary>& summary = run.*quantity->summary;
  return summary ? std::optional(*summary.*statistic->value) : std::nullopt;
}

/// Whether a measured value means what ours does.
bool is_comparable(const ServingRow& row, const ServingPlan& plan, const std::string& metric) {
  const bool rate = metric.ends_with("tok_s");
  if (plan.load.offline && !rate) return false;  // the queue of a burst, not a latency
  // InferenceMAX's servers stream SGLang and TensorRT-LLM in chunks of 10 to 20 tokens, and its
  // client times chunks.
  const bool chunks = draws_below_nominal(row) && backend_of(row.engine) != "vllm";
  return !(chunks && metric.starts_with("itl"));
}

/// A run whose mean rate is not its steady state: the bound of the tables' own remarks.
std::string left_out_of(const ServingRow& row) {
  constexpr double kTail = 1.15;
  if (row.qc_little.value_or(1) <= kTail) return "";
  return "Little's law is off by more than 15 %: a long tail, no steady state";
}

/// Distinct simulations of some plans, and which plan asks for which.
struct Distinct {
  std::vector<const ServingPlan*> plans;
  std::vector<std::size_t> of_row;  ///< index into `plans`; meaningless for plans with a problem
};
Distinct distinct_plans(const std::vector<ServingPlan>& plans) {
  Distinct out;
  out.of_row.resize(plans.size());
  std::map<std::string, std::size_t> known;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    if (!plans[i].problem.empty()) continue;
    const auto [place, added] = known.emplace(plans[i].key(), out.plans.size());
    if (added) out.plans.push_back(&plans[i]);
    out.of_row[i] = place->second;
  }
  return out;
}

/// What step times do not explain, as a standard deviation of the logarithm: settings a row leaves
/// out, warm-up, the client. From the residuals of the shared tables themselves (80 % of a normal),
/// so their coverage is in sample.
double unexplained_spread(const std::string& metric) {
  if (metric.starts_with("ttft")) return 0.5;
  return metric.ends_with("tok_s") ? 0.11 : 0.08;
}

/// P10 and P90 around a prediction. All families slow together move it by the sum of what each
/// moves it; they are independent, so their common spread lies between that sum (one dominates) and
/// its part 1/sqrt(2) (two alike): 0.85 of it.
void set_interval(double slow, ComparedValue& value) {
  constexpr double kIndependent = 0.85;
  constexpr double kP90 = 1.2815515655446004;  // of a normal, in standard deviations
  if (value.predicted <= 0 || slow <= 0) return;
  const double kernels = kIndependent * std::log(slow / value.predicted);
  const double spread = std::hypot(kernels, unexplained_spread(value.metric));
  value.p10 = value.predicted * std::exp(-kP90 * spread);
  value.p90 = value.predicted * std::exp(kP90 * spread);
}

void add_row(const ServingRow& row, const ServingPlan& plan, const ServingOutcome& outcome,
             Validation& out) {
  ComparedValue value;
  value.id = row.id;
  value.source = row.source;
  value.gpu = plan.system;
  value.engine = plan.engine;
  value.model = plan.model;
  value.layout = plan.layout;
  value.moe = row.moe;
  value.trusted = is_trusted(row);
  value.assumed = plan.assumed;
  value.assumed.insert(value.assumed.end(), outcome.assumed.begin(), outcome.assumed.end());
  value.left_out = left_out_of(row);
  bool any = false;
  for (const ServingRow::Measured& measured : row.measured) {
    const std::optional<double> predicted = predicted_value(outcome.run, measured.metric);
    if (!predicted || !is_comparable(row, plan, measured.metric)) continue;
    value.metric = measured.metric;
    value.measured = measured.value;
    value.predicted = *predicted;
    value.p10 = value.p90 = std::nullopt;
    if (const std::optional<double> slow = predicted_value(outcome.slow, measured.metric))
      set_interval(*slow, value);
    out.rows.push_back(value);
    any = true;
  }
  if (!any) out.unsupported.push_back({row.id, "none of our metrics was measured"});
}

}  // namespace

void compare_serving(const std::vector<ServingRow>& rows, int jobs, Validation& out,
                     const std::atomic<bool>* stop) {
  ServingTranslator translator;
  std::vector<ServingPlan> plans;
  plans.reserve(rows.size());
  for (const ServingRow& row : rows) plans.push_back(translator.plan(row));
  const Distinct distinct = distinct_plans(plans);
  std::vector<std::optional<ServingOutcome>> outcomes(distinct.plans.size());
  for_each_index(
      outcomes.size(), jobs, [&](std::size_t i) { outcomes[i] = carry_out(*distinct.plans[i]); },
      stop);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ServingOutcome* outcome = nullptr;
    if (plans[i].problem.empty()) {
      const std::optional<ServingOutcome>& simulated = outcomes[distinct.of_row[i]];
      if (!simulated) {
        ++out.unreached;
        continue;
      }
      outcome = &*simulated;
    }
    const std::string& problem = outcome != nullptr ? outcome->run.problem : plans[i].problem;
    if (problem.empty()) {
      add_row(rows[i], plans[i], *outcome, out);
    } else {
      out.unsupported.push_back({rows[i].id, problem});
    }
    if (!is_plain(rows[i])) continue;
    ++out.plain_engines.rows;
    if (problem.empty()) ++out.plain_engines.expressed;
  }
}

}  // namespace moesim
