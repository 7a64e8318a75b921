#include "calibrate/fit/plans.h"

namespace moesim {

CurvePlan plan_for(const std::string& op, const std::string& /*kernel*/,
                   const std::string& /*dtype*/) {
  CurvePlan plan;
  const auto with = [&plan](const char* form, std::vector<int> axes, std::vector<double> steps) {
    plan.form = find_form(form);
    plan.axes = std::move(axes);
    plan.steps = std::move(steps);
  };
  if (op == "gemm") with("gemm", {0, 1, 2}, {1, 1, 1});
  if (op == "moe" || op == "moe_deepgemm") with("moe", {0, 1, 2, 3}, {2, 2, 1.5, 1.5});
  if (op == "attention_generation")
    with("attention_decode", {0, 1, 2, 3, 4}, {1.5, 1.5, 2, 1, 1.5});
  if (op == "attention_context")
    with("attention_prefill", {0, 5, 2, 1, 4, 3}, {1, 2, 1.5, 2, 1, 1});
  if (op == "mla_generation") with("mla_decode", {0, 1, 2}, {1.5, 1, 1});
  if (op == "mla_context") with("mla_prefill", {0, 1, 2, 3}, {1, 1.5, 2, 1});
  if (op == "mla_bmm") with("mla_product", {0, 1}, {1, 1});
  if (op == "nccl" || op == "custom_allreduce") with("message", {0, 1}, {1, 1});
  if (op == "deepep_normal") with("deepep", {0, 1, 2}, {1, 1, 1});
  if (op == "deepep_ll") with("deepep_ll", {0, 1, 2}, {1, 1, 2});
  if (op == "stream" || op == "sampler") with("stream", {0, 1}, {1, 1});
  if (op.starts_with("attention_")) plan.uneven = true;
  // Few samples, many coefficients: cheap to look for the best valley, easy to miss it.
  if (op.starts_with("mla_")) plan.starts = 6;
  return plan;
}

}  // namespace moesim
