#include <cmath>
#include <memory>

#include "scenarios/arrival_time.h"
#include "scenarios/arrivals.h"
#include "scenarios/scenario.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Gamma-distributed gaps of mean 1/rate and shape `burstiness`, as vLLM's serving benchmark draws
/// them: the gaps' coefficient of variation is 1/sqrt(burstiness); 1 is Poisson, below 1 is
/// burstier, above 1 more regular.
class Gamma final : public Arrivals {
 public:
  std::vector<std::int64_t> times(std::int64_t count, const ArrivalSpec& spec,
                                  Rng& rng) const override {
    std::vector<std::int64_t> result(static_cast<std::size_t>(count), 0);
    if (std::isinf(spec.request_rate)) return result;
    const double scale_s = 1 / (spec.request_rate * spec.burstiness);
    double now_s = 0;
    for (std::int64_t& time : result) {
      now_s += rng.gamma(spec.burstiness) * scale_s;
      time = arrival_ns(now_s);
    }
    return result;
  }
};

const Register<Arrivals> kGamma{"gamma",
                                "gamma-distributed gaps of mean 1/request_rate, shape burstiness",
                                [](Reader&) { return std::make_unique<Gamma>(); }};

}  // namespace
}  // namespace moesim
