#include <cmath>
#include <memory>
#include <vector>

#include "scenarios/share_routing.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Weight 1 / rank^a, the ranks of a layer's experts permuted by the seed. These are weights, not
/// loads: a token takes no expert twice, so the load of the first ranks is flatter.
class Zipf final : public ShareRouting {
 public:
  Zipf(double exponent, const LoadDrift& drift) : ShareRouting(drift), exponent_(exponent) {}

 protected:
  [[nodiscard]] std::vector<double> weights(const Layer& layer,
                                            const std::vector<double>& scores) const override {
    std::vector<double> by_rank;
    for (int rank = 1; rank <= layer.shape.experts; ++rank)
      by_rank.push_back(std::pow(rank, -exponent_));
    return given_by_rank(std::move(by_rank), scores);
  }

 private:
  double exponent_;
};

const Register<ExpertRouting> kZipf{
    "zipf", "weight 1/rank^exponent, ranks permuted by layer", [](Reader& in) {
      // Above 3 the first rank has over four fifths of the weight whatever the number of experts.
      const double exponent = in.number("exponent", {.min = 0, .max = 3});
      return std::make_unique<Zipf>(exponent, read_drift(in));
    }};

}  // namespace
}  // namespace moesim
