#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "scenarios/load_weights.h"
#include "scenarios/share_routing.h"
#include "sim/base/random.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Load shares of each layer from a symmetric Dirichlet distribution: independent gamma variables
/// of shape `concentration`, normalised. Their coefficient of variation is about
/// sqrt((E - 1) / (E c + 1)): 0.76 at c = 1.7, 1.3 at 0.6.
class Dirichlet final : public ShareRouting {
 public:
  Dirichlet(double concentration, const LoadDrift& drift)
      : ShareRouting(drift), concentration_(concentration) {}

 protected:
  [[nodiscard]] std::vector<double> weights(const Layer& layer,
                                            const std::vector<double>& scores) const override {
    Rng rng(layer.seed, "dirichlet_loads", static_cast<std::uint64_t>(layer.index));
    std::vector<double> loads;
    // A small shape gives gammas below the least double; some expert must have load.
    for (std::size_t e = 0; e < scores.size(); ++e)
      loads.push_back(std::max(rng.gamma(concentration_), std::numeric_limits<double>::min()));
    return weights_for_loads(given_by_rank(std::move(loads), scores), layer.shape.top_k);
  }

 private:
  double concentration_;
};

const Register<ExpertRouting> kDirichlet{
    "dirichlet", "load shares of each layer from a symmetric Dirichlet distribution",
    [](Reader& in) {
      const double concentration = in.number("concentration", {.min = 0.01, .max = 1e6});
      return std::make_unique<Dirichlet>(concentration, read_drift(in));
    }};

}  // namespace
}  // namespace moesim
