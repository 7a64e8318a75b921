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
  if (op == "moe") with("moe", {0, 1, 2, 3}, {1.5, 1.5, 1, 1});
  if (op == "attention_generation")
    with("attention_decode", {0, 1, 2, 3, 4}, {1.5, 1.5, 2, 1, 1.5});
  if (op == "attention_context")
    with("attention_prefill", {0, 5, 2, 1, 4, 3}, {1, 2, 1.5, 2, 1, 1});
  if (op == "mla_generation") with("mla_decode", {0, 1, 2}, {1.5, 1, 1});
  if (op == "mla_context") with("mla_prefill", {0, 1, 2, 3}, {1, 1.5, 2, 1});
  if (op == "mla_bmm") with("mla_product", {0, 1}, {1, 1});
  if (op == "nccl" || op == "custom_allreduce") with("message", {0}, {1});
  // Few samples, many coefficients: cheap to look for the best valley, easy to miss it.
  if (op.starts_with("mla_")) plan.starts = 6;
  return plan;
}

DeviceCeilings ceilings_of(const SystemSpec& system, const std::string& formats) {
  DeviceCeilings ceilings;
  ceilings.memory_bandwidth = system.gpu.mem_bw.value();
  ceilings.sms = system.gpu.sm_count;
  ceilings.l2_bytes = static_cast<double>(system.gpu.l2.value());
  ceilings.link_bandwidth = system.node.intra_bw.value();
  ceilings.nic_bandwidth = system.node.inter_bw.value();
  FlopsPerSecond peak = system.gpu.bf16_peak;
  const FlopsPerSecond none(0);
  // Attention names the format it multiplies and that of its cache: "bfloat16/fp8".
  const std::string dtype = formats.substr(0, formats.find('/'));
  if ((dtype == "fp8" || dtype == "fp8_block") && system.gpu.fp8_peak > none)
    peak = system.gpu.fp8_peak;
  if (dtype == "sq" && system.gpu.int8_peak > none) peak = system.gpu.int8_peak;
  if ((dtype == "nvfp4" || dtype == "w4a8_mxfp4_mxfp8") && system.gpu.fp4_peak > none)
    peak = dtype == "nvfp4" ? system.gpu.fp4_peak : system.gpu.fp8_peak;
  ceilings.peak = peak.value();
  return ceilings;
}

}  // namespace moesim
