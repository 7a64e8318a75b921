#include <memory>

#include "scenarios/arrivals.h"
#include "scenarios/scenario.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Every request at time 0: an offline batch job; what counts is the time to the end.
class AllAtOnce final : public Arrivals {
 public:
  std::vector<std::int64_t> times(std::int64_t count, const ArrivalSpec& /*spec*/,
                                  Rng& /*rng*/) const override {
    return std::vector<std::int64_t>(static_cast<std::size_t>(count), 0);
  }
};

const Register<Arrivals> kAllAtOnce{"all_at_once", "every request at time 0: an offline batch",
                                    [](Reader&) { return std::make_unique<AllAtOnce>(); }};

}  // namespace
}  // namespace moesim
