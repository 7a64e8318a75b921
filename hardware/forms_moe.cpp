#include <algorithm>
#include <cmath>

#include "hardware/forms_list.h"

namespace moesim {

namespace {

// steptime.md 2: t0 + [(W/(bw BW))^p + ((P + m_h A) F1/(e PEAK))^p]^(1/p) + act/(b_a BW) + c A.
double moe_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double t0 = c[0], bandwidth = c[1], efficiency = c[2], half = c[3], power = c[4],
               per_expert = c[5], act_bandwidth = c[6];
  const double weights = s.active * s.matrices * s.hidden * s.inter * s.weight_bytes;
  const double per_pair = 2 * s.matrices * s.hidden * s.inter;
  const double memory = weights / (bandwidth * d.memory_bandwidth);
  const double compute = (s.pairs + half * s.active) * per_pair / (efficiency * d.peak);
  const double rows = s.tokens * s.topk;
  const double act = rows * (2 * s.hidden + s.matrices * s.inter) * 2;
  return t0 * 1e-6 + soft_max(memory, compute, power) + per_expert * 1e-6 * s.active +
         act / (act_bandwidth * d.memory_bandwidth);
}

Coordinates moe_coordinates(const KernelShape& s) {
  return {std::log2(std::max(1.0, s.pairs) / std::max(1.0, s.active)),
          std::log2(std::max(1.0, s.active)),
          std::log2(s.inter),
          std::log2(s.hidden),
          std::log2(std::max(1.0, s.pairs)),
          std::log2(std::max(1.0, s.tokens))};
}

}  // namespace

const Form& moe_form() {
  static const Form form{"moe",
                         {{"t0_us", 30, 2, 200},
                          {"bandwidth", 0.9, 0.2, 1.5},
                          {"efficiency", 0.6, 0.05, 1.05},
                          {"half_rows", 30, 1, 500},
                          {"power", 1.5, 1.05, 6},
                          {"expert_us", 0.2, 0.001, 5},
                          {"act_bandwidth", 1, 0.1, 10}},
                         moe_seconds,
                         {"log2 pairs per active expert", "log2 active experts", "log2 inter",
                          "log2 hidden", "log2 pairs", "log2 tokens"},
                         moe_coordinates};
  return form;
}

}  // namespace moesim
