#include <cmath>
#include <memory>

#include "scenarios/arrival_time.h"
#include "scenarios/arrivals.h"
#include "scenarios/scenario.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// One request every 1/rate seconds, the first at 0. Times are rounded from i/rate, so that they do
/// not drift.
class Constant final : public Arrivals {
 public:
  std::vector<std::int64_t> times(std::int64_t count, const ArrivalSpec& spec,
                                  Rng& /*rng*/) const override {
    std::vector<std::int64_t> result(static_cast<std::size_t>(count), 0);
    if (std::isinf(spec.request_rate)) return result;
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = arrival_ns(static_cast<double>(i) / spec.request_rate);
    }
    return result;
  }
};

const Register<Arrivals> kConstant{"constant", "one request every 1/request_rate seconds",
                                   [](Reader&) { return std::make_unique<Constant>(); }};

}  // namespace
}  // namespace moesim
