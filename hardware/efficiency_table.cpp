#include "hardware/efficiency_table.h"

#include <algorithm>
#include <cmath>

namespace moesim {

namespace {

constexpr double kFadeKnots = 2.0;  ///< knots outside the table over which a correction fades by e
constexpr double kEnough = 9.0;     ///< `near` of a knot among many data

}  // namespace

std::size_t EfficiencyTable::size() const {
  std::size_t size = 1;
  for (const TableAxis& axis : axes) size *= static_cast<std::size_t>(axis.count);
  return size;
}

int EfficiencyTable::corners(const Coordinates& x, std::array<Corner, 16>& out,
                             double& distance) const {
  out[0] = {0, 1.0};
  int count = 1;
  distance = 0;
  for (const TableAxis& axis : axes) {
    const double place = (x[static_cast<std::size_t>(axis.coordinate)] - axis.low) / axis.step;
    const double last = axis.count - 1;
    const double held = std::clamp(place, 0.0, last);
    distance += std::abs(place - held);
    const int cell = std::min(static_cast<int>(held), std::max(0, axis.count - 2));
    const double upper = held - cell;
    const int before = count;
    for (int i = 0; i < before; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const Corner base = out[at];
      out[at] = {base.knot * axis.count + cell, base.weight * (1 - upper)};
      if (upper > 0)
        out[static_cast<std::size_t>(count++)] = {base.knot * axis.count + cell + 1,
                                                  base.weight * upper};
    }
  }
  return count;
}

EfficiencyTable::Answer EfficiencyTable::at(const Coordinates& x) const {
  if (values.empty()) return {0, 0, false};
  std::array<Corner, 16> corner;
  double distance = 0;
  const int count = corners(x, corner, distance);
  Answer answer;
  double support = 0;
  for (int i = 0; i < count; ++i) {
    const Corner& c = corner[static_cast<std::size_t>(i)];
    answer.log_factor += c.weight * static_cast<double>(values[static_cast<std::size_t>(c.knot)]);
    support += c.weight * near[static_cast<std::size_t>(c.knot)];
  }
  const double fade = distance > 0 ? std::exp(-distance / kFadeKnots) : 1.0;
  answer.log_factor *= fade;
  answer.support = fade * support / kEnough;
  answer.inside = distance <= 0;
  return answer;
}

}  // namespace moesim
