#pragma once

#include <cstdint>
#include <string_view>

namespace moesim {

/// SplitMix64 finaliser: a bijection of 64-bit words with full avalanche
/// (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
constexpr std::uint64_t mix64(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  x ^= x >> 31;
  return x;
}

/// A named, independent stream of random numbers: same (seed, name, index) -> same bits on every
/// platform. One stream per purpose, so that a new policy never shifts the arrivals.
/// Own samplers, because the standard library's distributions differ between implementations.
class Rng {
 public:
  Rng(std::uint64_t seed, std::string_view name, std::uint64_t index = 0);

  /// 64 uniform bits (xoshiro256**, D. Blackman and S. Vigna, 2018).
  std::uint64_t next() {
    const std::uint64_t result = rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotl(state_[3], 45);
    return result;
  }
  /// Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// Uniform integer in [0, n), n >= 1, without bias (D. Lemire, 2019).
  std::uint32_t below(std::uint32_t n);
  double normal();             ///< mean 0, standard deviation 1
  double exponential();        ///< mean 1
  double gamma(double shape);  ///< mean `shape`, scale 1; shape > 0

 private:
  static constexpr std::uint64_t rotl(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  std::uint64_t state_[4];
};

}  // namespace moesim
