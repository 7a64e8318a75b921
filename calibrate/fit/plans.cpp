#include "calibrate/fit/plans.h"

#include <algorithm>

namespace moesim {

namespace {

struct Operator {
  const char* name;
  const char* form;
  std::vector<int> axes;
  std::vector<double> steps;
  std::vector<const char*> sizes;
};

const std::vector<Operator>& operators() {
  static const std::vector<const char*> kExperts{"tokens", "hidden", "inter", "weight_bytes"};
  static const std::vector<const char*> kMessage{"bytes", "gpus", "nodes"};
  static const std::vector<Operator> kAll{
      {"gemm", "gemm", {0, 1, 2}, {1, 1, 1}, {"m", "n", "k", "weight_bytes"}},
      {"moe", "moe", {0, 1, 2, 3}, {2, 2, 1.5, 1.5}, kExperts},
      {"moe_deepgemm", "moe", {0, 1, 2, 3}, {2, 2, 1.5, 1.5}, kExperts},
      {"attention_generation",
       "attention_decode",
       {0, 1, 2, 3, 4},
       {1.5, 1.5, 2, 1, 1.5},
       {"batch", "kv_tokens", "heads", "kv_heads", "head_dim"}},
      {"attention_context",
       "attention_prefill",
       {0, 5, 2, 1, 4, 3},
       {1, 2, 1.5, 2, 1, 1},
       {"batch", "queries", "pairs_qk", "heads", "kv_heads", "head_dim"}},
      {"mla_generation",
       "mla_decode",
       {0, 1, 2},
       {1.5, 1, 1},
       {"batch", "kv_tokens", "heads", "head_dim"}},
      {"mla_context",
       "mla_prefill",
       {0, 1, 2, 3},
       {1, 1.5, 2, 1},
       {"batch", "queries", "pairs_qk", "heads"}},
      {"mla_bmm", "mla_product", {0, 1}, {1, 1}, {"m", "n", "k", "heads", "weight_bytes"}},
      {"nccl", "message", {0, 1}, {1, 1}, kMessage},
      {"custom_allreduce", "message", {0, 1}, {1, 1}, kMessage},
      {"deepep_normal", "deepep", {0, 1, 2}, {1, 1, 1}, {"tokens", "bytes", "nodes", "sms"}},
      {"deepep_ll",
       "deepep_ll",
       {0, 1, 2},
       {1, 1, 2},
       {"tokens", "bytes", "nodes", "total_experts"}},
      {"stream", "stream", {0, 1}, {1, 1}, {"rows", "bytes"}},
      {"sampler", "stream", {0, 1}, {1, 1}, {"rows", "bytes"}},
  };
  return kAll;
}

const Operator* find_operator(const std::string& name) {
  const auto found =
      std::ranges::find_if(operators(), [&](const Operator& one) { return one.name == name; });
  return found == operators().end() ? nullptr : &*found;
}

}  // namespace

CurvePlan plan_for(const std::string& op, const std::string& /*kernel*/,
                   const std::string& /*dtype*/) {
  CurvePlan plan;
  const Operator* const known = find_operator(op);
  if (known == nullptr) return plan;
  plan.form = find_form(known->form);
  plan.axes = known->axes;
  plan.steps = known->steps;
  if (op.starts_with("attention_")) plan.uneven = true;
  // Few samples, many coefficients: cheap to look for the best valley, easy to miss it.
  if (op.starts_with("mla_")) plan.starts = 6;
  return plan;
}

std::vector<std::string> fitted_operators() {
  std::vector<std::string> names;
  for (const Operator& one : operators()) names.emplace_back(one.name);
  return names;
}

std::vector<const char*> sizes_needed(const std::string& op) {
  const Operator* const known = find_operator(op);
  return known == nullptr ? std::vector<const char*>() : known->sizes;
}

}  // namespace moesim
