#include "sim/base/units.h"

#include <cmath>
#include <cstddef>
#include <fmt/format.h>
#include <span>

namespace moesim {
namespace {

struct Prefix {
  double scale;
  const char* unit;
};

/// Three significant digits of a number below 1000 (four digits for 1000 to 1023 KiB).
std::string three_digits(double value) {
  const double magnitude = std::abs(value);
  if (magnitude < 9.995) return fmt::format("{:.2f}", value);
  if (magnitude < 99.95) return fmt::format("{:.1f}", value);
  return fmt::format("{:.0f}", value);
}

/// `value` in the largest of `prefixes` (ascending, each `step` times the last) that leaves at
/// least 1 in front of the point, after rounding: 999.6 MB is "1.00 GB", not "1000 MB".
std::string scaled(double value, std::span<const Prefix> prefixes, double step) {
  std::size_t i = 0;
  while (i + 1 < prefixes.size() && std::abs(value) / prefixes[i].scale >= step - 0.5) ++i;
  return three_digits(value / prefixes[i].scale) + " " + prefixes[i].unit;
}

}  // namespace

std::string to_text(Seconds time) {
  static constexpr Prefix kPrefixes[] = {{1e-9, "ns"}, {1e-6, "us"}, {1e-3, "ms"}, {1.0, "s"}};
  if (time.value() == 0) return "0 s";
  return scaled(time.value(), kPrefixes, 1000);
}

std::string to_text(Bytes size) {
  static constexpr Prefix kPrefixes[] = {{1e3, "kB"},  {1e6, "MB"},  {1e9, "GB"},
                                         {1e12, "TB"}, {1e15, "PB"}, {1e18, "EB"}};
  if (size > Bytes(-1000) && size < Bytes(1000)) return fmt::format("{} B", size.value());
  return scaled(static_cast<double>(size.value()), kPrefixes, 1000);
}

std::string to_text(BytesPerSecond rate) {
  static constexpr Prefix kPrefixes[] = {{1.0, "B/s"},  {1e3, "kB/s"},  {1e6, "MB/s"},
                                         {1e9, "GB/s"}, {1e12, "TB/s"}, {1e15, "PB/s"}};
  if (rate.value() == 0) return "0 B/s";
  return scaled(rate.value(), kPrefixes, 1000);
}

std::string to_gib_text(Bytes size) {
  static constexpr Prefix kPrefixes[] = {
      {0x1p10, "KiB"}, {0x1p20, "MiB"}, {0x1p30, "GiB"}, {0x1p40, "TiB"}, {0x1p50, "PiB"}};
  if (size > Bytes(-1024) && size < Bytes(1024)) return fmt::format("{} B", size.value());
  return scaled(static_cast<double>(size.value()), kPrefixes, 1024);
}

}  // namespace moesim
