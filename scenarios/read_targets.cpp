#include <algorithm>

#include "scenarios/load_parts.h"

namespace moesim {

SloSpec read_slo(Reader in) {
  constexpr Range kMilliseconds{.min = 0.01, .max = 1e8};
  SloSpec slo;
  slo.ttft_ms = in.optional_number("ttft_ms", kMilliseconds);
  slo.tpot_ms = in.optional_number("tpot_ms", kMilliseconds);
  slo.itl_ms = in.optional_number("itl_ms", kMilliseconds);
  slo.e2el_ms = in.optional_number("e2el_ms", kMilliseconds);
  slo.percentile = in.number_or("percentile", 99, {.min = 1, .max = 100});
  const bool targets =
      in.has("ttft_ms") || in.has("tpot_ms") || in.has("itl_ms") || in.has("e2el_ms");
  in.reject_unknown_keys();
  if (in.has("percentile") && !targets && !in.faulty("")) {  // a target may be mistyped
    in.fail("percentile", "has no effect without a target",
            "write ttft_ms, tpot_ms, itl_ms or e2el_ms");
  }
  return slo;
}

std::map<std::string, double> read_cost(Reader in) {
  std::map<std::string, double> result;
  Reader prices = in.map_or_empty("gpu_hour_usd");
  for (const std::string& system : prices.keys()) {
    result[system] = prices.number(system, {.min = 1e-4, .max = 1e4});
  }
  in.reject_unknown_keys();
  return result;
}

int read_uncertainty(Reader in) {
  const auto replicas = static_cast<int>(in.integer_or("replicas", 16, {.min = 1, .max = 10000}));
  in.reject_unknown_keys();
  return replicas;
}

}  // namespace moesim
