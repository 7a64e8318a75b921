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

}  // namespace moesim
