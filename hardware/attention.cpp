#include "hardware/attention.h"

#include <algorithm>

namespace moesim {

double visible_pairs(double queries, double past, double window) {
  // Rows grow by one key per query until the window is full, then stay.
  double growing = queries;
  if (window > 0) growing = std::clamp(window - past, 0.0, queries);
  const double full = queries - growing;
  return growing * past + growing * (growing + 1) / 2 + full * window;
}

double visible_keys(double queries, double past, double window) {
  const double keys = past + queries;
  return window > 0 ? std::min(keys, queries + window - 1) : keys;
}

double longest_row(double queries, double past, double window) {
  const double keys = past + queries;
  return window > 0 ? std::min(keys, window) : keys;
}

bool has_uneven_contexts(const KernelShape& shape) {
  constexpr double kRounding = 1.001;  // a mean is seldom a whole number
  if (shape.decodes > 0)
    return shape.decode_longest * shape.decodes > kRounding * shape.decode_tokens;
  return shape.queries <= shape.batch && shape.longest * shape.batch > kRounding * shape.kv_tokens;
}

}  // namespace moesim
