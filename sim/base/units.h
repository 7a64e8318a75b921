#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace moesim {

/// A number that carries its unit. Only same-unit arithmetic compiles; the few cross-unit
/// operations we need are written out below, so a forgotten conversion (GB/s against Gbit/s,
/// us against ms) is a compile error instead of a plausible wrong answer.
template <class Unit, class Rep>
class Quantity {
 public:
  constexpr Quantity() = default;
  constexpr explicit Quantity(Rep value) : value_(value) {}
  [[nodiscard]] constexpr Rep value() const { return value_; }

  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 sees a null pointer in the defaulted <=>
  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) {
    return Quantity(a.value_ + b.value_);
  }
  friend constexpr Quantity operator-(Quantity a, Quantity b) {
    return Quantity(a.value_ - b.value_);
  }
  friend constexpr Quantity operator*(Rep k, Quantity q) { return Quantity(k * q.value_); }
  friend constexpr Quantity operator*(Quantity q, Rep k) { return Quantity(k * q.value_); }
  friend constexpr Quantity operator/(Quantity q, Rep k) { return Quantity(q.value_ / k); }
  /// Ratio of two like quantities, a plain number.
  friend constexpr double operator/(Quantity a, Quantity b) {
    return static_cast<double>(a.value_) / static_cast<double>(b.value_);
  }
  constexpr Quantity& operator+=(Quantity q) {
    value_ += q.value_;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity q) {
    value_ -= q.value_;
    return *this;
  }

 private:
  Rep value_{};
};

using Seconds = Quantity<struct SecondUnit, double>;
using Bytes = Quantity<struct ByteUnit, std::int64_t>;
using Flops = Quantity<struct FlopUnit, double>;
using BytesPerSecond = Quantity<struct BytesPerSecondUnit, double>;
using FlopsPerSecond = Quantity<struct FlopsPerSecondUnit, double>;
using Watts = Quantity<struct WattUnit, double>;

constexpr Seconds operator/(Bytes size, BytesPerSecond rate) {
  return Seconds(static_cast<double>(size.value()) / rate.value());
}
constexpr Seconds operator/(Flops work, FlopsPerSecond rate) {
  return Seconds(work.value() / rate.value());
}

/// "93.4 GB", "3.35 TB/s", "1.25 ms": three significant digits with a decimal prefix.
[[nodiscard]] std::string to_text(Seconds time);
[[nodiscard]] std::string to_text(Bytes size);
[[nodiscard]] std::string to_text(BytesPerSecond rate);
/// "79.2 GiB": binary prefix, as the engines log memory.
[[nodiscard]] std::string to_gib_text(Bytes size);

namespace literals {
constexpr Seconds operator""_s(long double v) {
  return Seconds(static_cast<double>(v));
}
constexpr Seconds operator""_ms(long double v) {
  return Seconds(static_cast<double>(v) * 1e-3);
}
constexpr Seconds operator""_us(long double v) {
  return Seconds(static_cast<double>(v) * 1e-6);
}
constexpr Bytes operator""_B(unsigned long long v) {
  return Bytes(static_cast<std::int64_t>(v));
}
constexpr Bytes operator""_KiB(unsigned long long v) {
  return Bytes(static_cast<std::int64_t>(v) << 10);
}
constexpr Bytes operator""_MiB(unsigned long long v) {
  return Bytes(static_cast<std::int64_t>(v) << 20);
}
constexpr Bytes operator""_GiB(unsigned long long v) {
  return Bytes(static_cast<std::int64_t>(v) << 30);
}
}  // namespace literals

}  // namespace moesim
