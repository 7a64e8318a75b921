#include "hardware/tuned_experts.h"

#include <doctest/doctest.h>
#include <vector>

#include "hardware/forms.h"

namespace moesim {
namespace {

TEST_CASE("tuned layers go by engine, card, local experts and width") {
  const auto tuned = [](const char* framework, const char* system, double experts, double inter) {
    return is_tuned(tuned_experts(framework, system), experts, inter);
  };
  CHECK(tuned("vllm", "a100_sxm", 8, 7168) == 1);    // Mixtral-8x7B on two ranks
  CHECK(tuned("vllm", "a100_sxm", 8, 14336) == 0);   // on one
  CHECK(tuned("vllm", "a100_sxm", 4, 7168) == 0);    // whole experts on two ranks
  CHECK(tuned("vllm", "h200_sxm", 8, 14336) == 1);   // the same layer, another card
  CHECK(tuned("trtllm", "a100_sxm", 8, 7168) == 0);  // an engine without such kernels
  CHECK(tuned("vllm", "l40s", 8, 7168) == 0);
}

TEST_CASE("tiles tuned for a layer make it no slower, and only beyond as many tokens as experts") {
  const Form& form = *find_form("moe");
  std::vector<double> c;
  for (const Coefficient& one : form.coefficients) c.push_back(one.start);
  const DeviceCeilings device{.memory_bandwidth = 2e12, .peak = 3e14, .sms = 108, .l2_bytes = 4e7};
  KernelShape s;
  s.weight_bytes = 2;
  s.experts = s.total_experts = s.active = 8;
  s.topk = 2;
  s.hidden = 4096;
  s.inter = 7168;
  for (const double tokens : {4.0, 8.0, 9.0, 64.0, 4096.0}) {
    CAPTURE(tokens);
    s.tokens = tokens;
    s.pairs = 2 * tokens;
    s.above_64 = s.above_256 = 0;
    s.tuned = 0;
    const double usual = form.seconds(s, c, device);
    s.tuned = 1;
    const double tuned = form.seconds(s, c, device);
    if (tokens <= 8) CHECK(tuned == usual);
    if (tokens > 8) CHECK(tuned < usual);
  }
}

}  // namespace
}  // namespace moesim
