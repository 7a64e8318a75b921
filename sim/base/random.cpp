#include "sim/base/random.h"

#include <cmath>

#include "sim/base/check.h"

namespace moesim {
namespace {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;  // 2^64 / golden ratio: SplitMix64's step

/// Folds one word into a hash; every bit of both reaches every bit of the result.
constexpr std::uint64_t fold(std::uint64_t hash, std::uint64_t word) {
  return mix64(hash + kGolden + mix64(word + kGolden));
}

}  // namespace

Rng::Rng(std::uint64_t seed, std::string_view name, std::uint64_t index) {
  std::uint64_t hash = fold(seed, name.size());
  for (const char c : name) hash = fold(hash, static_cast<unsigned char>(c));
  hash = fold(hash, index);
  // SplitMix64 fills the state, as the authors of xoshiro advise. Its outputs for four successive
  // states differ, so the state is never all zero, the one that xoshiro may not have.
  for (std::uint64_t& word : state_) word = mix64(hash += kGolden);
}

std::uint32_t Rng::below(std::uint32_t n) {
  MOESIM_CHECK(n > 0, "a choice is among at least one");
  // D. Lemire, "Fast random integer generation in an interval", TOMACS 29(1), 2019, algorithm 5.
  const auto draw = [&] { return (next() >> 32) * std::uint64_t{n}; };
  std::uint64_t product = draw();
  if (static_cast<std::uint32_t>(product) < n) {
    const std::uint32_t biased = (0U - n) % n;  // 2^32 mod n
    while (static_cast<std::uint32_t>(product) < biased) product = draw();
  }
  return static_cast<std::uint32_t>(product >> 32);
}

// The samplers below use +, -, *, /, sqrt (exactly rounded by IEEE 754) and log, log1p, pow, which
// come from libm: same bits for g++ and clang++ on one C library, perhaps not across C libraries.

double Rng::normal() {
  // G. Marsaglia, T. Bray, "A convenient method for generating normal variables", SIAM Review 6(3),
  // 1964. Its second value is dropped: a stream without hidden state is worth 2.5 draws.
  for (;;) {
    const double x = 2 * uniform() - 1;
    const double y = 2 * uniform() - 1;
    const double s = x * x + y * y;
    if (s > 0 && s < 1) return x * std::sqrt(-2 * std::log(s) / s);
  }
}

double Rng::exponential() {
  return -std::log(1 - uniform());  // exact: a multiple of 2^-53
}

double Rng::gamma(double shape) {
  MOESIM_CHECK(shape > 0, "a gamma distribution has a positive shape");
  // G. Marsaglia, W. W. Tsang, "A simple method for generating gamma variables", TOMS 26(3), 2000;
  // its section 6 for shapes below 1.
  if (shape < 1) {
    const double boost = std::pow(1 - uniform(), 1 / shape);
    return gamma(shape + 1) * boost;
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = normal();
    const double root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    const double u = 1 - uniform();
    const double x2 = x * x;
    if (u < 1 - 0.0331 * x2 * x2) return d * v;
    if (std::log(u) < 0.5 * x2 + d * (1 - v + std::log(v))) return d * v;
  }
}

}  // namespace moesim
