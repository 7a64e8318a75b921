#include "hardware/read_scaled.h"

#include <fmt/format.h>

namespace moesim {

namespace {

struct Unit {
  const char* name;   // printed after the range
  double scale;       // of the unit that is written by mistake
  const char* other;  // that unit
};

double read_scaled(Reader& in, const std::string& key, Range range, const Unit& unit) {
  const double value = in.number(key, {-1e300, 1e300});
  if (!in.is_number(key)) return range.min;
  if (value >= range.min && value <= range.max) return value;
  const double meant = value * unit.scale;
  const std::string limits = fmt::format("{:g} to {:g}{}", range.min, range.max, unit.name);
  in.fail(key, fmt::format("{:g} is outside {}", value, limits),
          meant >= range.min && meant <= range.max
              ? fmt::format("{:g} {} is written {:g}", value, unit.other, meant)
              : "write " + limits);
  return range.min;
}

}  // namespace

Seconds read_seconds(Reader& in, const std::string& key, double least) {
  return Seconds(read_scaled(in, key, {least, 1e-2}, {" s", 1e-6, "us"}));
}

double read_ratio(Reader& in, const std::string& key) {
  return read_scaled(in, key, {0.05, 1.0}, {"", 1e-2, "%"});
}

}  // namespace moesim
