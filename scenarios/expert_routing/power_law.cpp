#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "scenarios/load_weights.h"
#include "scenarios/share_routing.h"
#include "sim/base/random.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Expert loads of a step of `tokens` tokens sampled from the density x^-exponent between 1 and
/// 0.8 x tokens (0.01 and 2 if there are no more slots than experts): how aiconfigurator makes the
/// expert loads of its tables (github ai-dynamo/aiconfigurator, collector/helper.py; exponent 1.01
/// for DeepSeek-V3, 1.2 for Qwen3-235B). The more tokens, the more skew.
class PowerLaw final : public ShareRouting {
 public:
  PowerLaw(double exponent, int tokens, const LoadDrift& drift)
      : ShareRouting(drift), exponent_(exponent), tokens_(tokens) {}

 protected:
  [[nodiscard]] std::vector<double> weights(const Layer& layer,
                                            const std::vector<double>& scores) const override {
    const double slots = static_cast<double>(tokens_) * layer.shape.top_k;
    const bool few = slots <= layer.shape.experts;
    const double low = few ? 0.01 : 1;
    const double high = few ? 2 : std::max(0.8 * tokens_, 1.0);
    Rng rng(layer.seed, "power_law_loads", static_cast<std::uint64_t>(layer.index));
    std::vector<double> loads;
    for (std::size_t e = 0; e < scores.size(); ++e) loads.push_back(sample(low, high, rng));
    return weights_for_loads(given_by_rank(std::move(loads), scores), layer.shape.top_k);
  }

 private:
  /// By the inverse of the distribution function.
  [[nodiscard]] double sample(double low, double high, Rng& rng) const {
    const double u = rng.uniform();
    const double power = 1 - exponent_;
    if (std::abs(power) < 1e-9) return low * std::pow(high / low, u);
    const double a = std::pow(low, power);
    return std::pow(a + u * (std::pow(high, power) - a), 1 / power);
  }

  double exponent_;
  int tokens_;
};

const Register<ExpertRouting> kPowerLaw{
    "power_law", "loads sampled from x^-exponent, as in aiconfigurator's tables", [](Reader& in) {
      const double exponent = in.number("exponent", {.min = 0, .max = 4});
      const auto tokens = in.integer_or("tokens", 4096, {.min = 1, .max = 1e7});
      return std::make_unique<PowerLaw>(exponent, static_cast<int>(tokens), read_drift(in));
    }};

}  // namespace
}  // namespace moesim
