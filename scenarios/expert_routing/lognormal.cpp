#include <cmath>
#include <fmt/format.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "scenarios/load_weights.h"
#include "scenarios/share_routing.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Expert loads exp(sigma x), x standard normal, one sigma or one a layer. DeepSeek-R1's published
/// loads at EP32 are those of sigma 1.05 on average, 0.5 to 1.4 by layer (routing-traces.md 4.2).
class Lognormal final : public ShareRouting {
 public:
  struct Spread {
    std::vector<double> by_layer;  ///< one value: of all layers
    bool is_list = false;
    Where where;
    std::string key;
  };
  Lognormal(Spread sigma, const LoadDrift& drift) : ShareRouting(drift), sigma_(std::move(sigma)) {}

  void check(const RoutingShape& shape) const override {
    const auto given = sigma_.by_layer.size();
    if (!sigma_.is_list || given == static_cast<std::size_t>(shape.layers)) return;
    throw_input_error({sigma_.where, sigma_.key,
                       fmt::format("{} values for a model of {} MoE layers", given, shape.layers),
                       "write one number for all layers, or one for each"});
  }

 protected:
  [[nodiscard]] std::vector<double> weights(const Layer& layer,
                                            const std::vector<double>& scores) const override {
    const double sigma =
        sigma_.by_layer[sigma_.is_list ? static_cast<std::size_t>(layer.index) : 0];
    std::vector<double> loads;
    loads.reserve(scores.size());
    for (const double score : scores) loads.push_back(std::exp(sigma * score));
    return weights_for_loads(loads, layer.shape.top_k);
  }

 private:
  Spread sigma_;
};

const Register<ExpertRouting> kLognormal{
    "lognormal", "loads exp(sigma x), x standard normal; sigma may differ by layer",
    [](Reader& in) {
      constexpr Range kSigma{.min = 0, .max = 4};
      Lognormal::Spread sigma{{1}, in.is_list("sigma"), in.where("sigma"), in.path("sigma")};
      if (sigma.is_list) {
        sigma.by_layer = in.numbers_or("sigma", {1}, kSigma);
        if (sigma.by_layer.empty()) sigma.by_layer = {1};
      } else {
        sigma.by_layer = {in.number("sigma", kSigma)};
      }
      return std::make_unique<Lognormal>(std::move(sigma), read_drift(in));
    }};

}  // namespace
}  // namespace moesim
