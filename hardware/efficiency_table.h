#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hardware/forms.h"

namespace moesim {

/// A regular axis of a table over one coordinate of a form.
struct TableAxis {
  int coordinate = 0;  ///< index into Form::axes
  double low = 0;      ///< coordinate of the first knot
  double step = 1;
  int count = 1;  ///< knots
};

/// Correction of a form near data: natural logarithm of measured over form time, multilinear
/// between knots, held constant beyond them while it fades with distance. Zero where there were no
/// data. Evaluation: 2^axes products, no allocation.
class EfficiencyTable {
 public:
  std::vector<TableAxis> axes;     ///< at most 4; the last runs fastest
  std::vector<float> values;       ///< one per knot
  std::vector<std::uint8_t> near;  ///< per knot: 0 no data nearby ... 9 many

  struct Answer {
    double log_factor = 0;
    double support = 0;  ///< 0 far from data ... 1 among data
    bool inside = true;  ///< within the knots
  };
  [[nodiscard]] Answer at(const Coordinates& x) const;

  /// Corner knots of the cell around `x` and their weights, which sum to 1. `distance` is how far
  /// outside the knots, in knots. For fitting.
  struct Corner {
    int knot;
    double weight;
  };
  int corners(const Coordinates& x, std::array<Corner, 16>& out, double& distance) const;
  [[nodiscard]] std::size_t size() const;
};

}  // namespace moesim
