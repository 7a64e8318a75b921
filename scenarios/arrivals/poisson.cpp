#include <cmath>
#include <memory>

#include "scenarios/arrival_time.h"
#include "scenarios/arrivals.h"
#include "scenarios/scenario.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Independent exponential gaps of mean 1/rate; the first request comes after one gap. Real traffic
/// is burstier over minutes (index of dispersion 16 at 60 s in the Azure conversation trace, 1
/// here): replay a trace for that.
class Poisson final : public Arrivals {
 public:
  std::vector<std::int64_t> times(std::int64_t count, const ArrivalSpec& spec,
                                  Rng& rng) const override {
    std::vector<std::int64_t> result(static_cast<std::size_t>(count), 0);
    if (std::isinf(spec.request_rate)) return result;
    double now_s = 0;
    for (std::int64_t& time : result) {
      now_s += rng.exponential() / spec.request_rate;
      time = arrival_ns(now_s);
    }
    return result;
  }
};

const Register<Arrivals> kPoisson{"poisson", "independent exponential gaps of mean 1/request_rate",
                                  [](Reader&) { return std::make_unique<Poisson>(); }};

}  // namespace
}  // namespace moesim
