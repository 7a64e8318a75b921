#include "sim/report/number_text.h"

#include <cmath>
#include <cstddef>
#include <fmt/format.h>

namespace moesim {

std::string short_number(double value) {
  const double size = std::abs(value);
  if (size >= 9999.5) {
    const std::string digits = fmt::format("{:.0f}", size);
    std::string grouped = value < 0 ? "-" : "";
    for (std::size_t i = 0; i < digits.size(); ++i) {
      if (i > 0 && (digits.size() - i) % 3 == 0) grouped += ',';
      grouped += digits[i];
    }
    return grouped;
  }
  if (size >= 99.95) return fmt::format("{:.0f}", value);
  if (size >= 9.995) return fmt::format("{:.1f}", value);
  if (size >= 0.9995) return fmt::format("{:.2f}", value);
  return fmt::format("{:.3g}", value);
}
std::string percent(double ratio) {
  return short_number(ratio * 100) + " %";
}

}  // namespace moesim
