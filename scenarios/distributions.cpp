#include "scenarios/distributions.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace moesim {
namespace {

/// 99 % quantile of the standard normal distribution.
constexpr double kZ99 = 2.3263478740408408;
constexpr double kLargestCount = 1 << 30;

}  // namespace

std::optional<double> lognormal_sigma(double mean, double p99) {
  // mean = exp(mu + sigma^2/2) and p99 = exp(mu + z sigma), so ln(p99/mean) = z sigma - sigma^2/2:
  // the smaller root, the one that tends to a constant as p99 tends to the mean.
  if (!(mean > 0) || !(p99 >= mean)) return std::nullopt;
  const double discriminant = kZ99 * kZ99 - 2 * std::log(p99 / mean);
  if (discriminant < 0) return std::nullopt;
  return kZ99 - std::sqrt(discriminant);
}

Sampler::Sampler(const Distribution& distribution) : distribution_(distribution) {
  if (distribution.kind != Distribution::Kind::kLognormal) return;
  sigma_ = lognormal_sigma(distribution.a, distribution.b).value_or(0);
  mu_ = std::log(distribution.a) - sigma_ * sigma_ / 2;
}

double Sampler::value(Rng& rng) const {
  using Kind = Distribution::Kind;
  const Distribution& d = distribution_;
  switch (d.kind) {
    case Kind::kFixed:
      return d.a;
    case Kind::kUniform:
      return d.a + rng.uniform() * (d.b - d.a);
    case Kind::kLognormal:
      return std::exp(mu_ + sigma_ * rng.normal());
    case Kind::kNormal:
      return std::clamp(d.a + d.b * rng.normal(), d.min, d.max);
    case Kind::kEmpirical:
      return d.samples[rng.below(static_cast<std::uint32_t>(d.samples.size()))];
  }
  return 0;
}

std::uint32_t Sampler::count(Rng& rng) const {
  double whole = 0;
  if (distribution_.kind == Distribution::Kind::kUniform) {
    whole = distribution_.a + std::floor(rng.uniform() * (distribution_.b - distribution_.a + 1));
  } else {
    whole = std::floor(value(rng) + 0.5);
  }
  return static_cast<std::uint32_t>(std::clamp(whole, 1.0, kLargestCount));
}

std::string to_text(const Distribution& distribution) {
  using Kind = Distribution::Kind;
  switch (distribution.kind) {
    case Kind::kFixed:
      return fmt::format("{:g}", distribution.a);
    case Kind::kUniform:
      return fmt::format("uniform {:g} to {:g}", distribution.a, distribution.b);
    case Kind::kLognormal:
      return fmt::format("lognormal, mean {:g}, p99 {:g}", distribution.a, distribution.b);
    case Kind::kNormal:
      return fmt::format("normal, mean {:g}, std {:g}, {:g} to {:g}", distribution.a,
                         distribution.b, distribution.min, distribution.max);
    case Kind::kEmpirical:
      return fmt::format("{} measured values", distribution.samples.size());
  }
  return "";
}

}  // namespace moesim
