#include <memory>

#include "scenarios/arrivals.h"
#include "scenarios/scenario.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// A fixed number of users who wait for an answer before asking again: no request has a time of its
/// own, a free one of `max_concurrency` slots issues the next row. Its load adapts to the server,
/// so it never overloads one; with more users than the server can run at once, a queue stands.
class ClosedLoop final : public Arrivals {
 public:
  std::vector<std::int64_t> times(std::int64_t count, const ArrivalSpec& /*spec*/,
                                  Rng& /*rng*/) const override {
    return std::vector<std::int64_t>(static_cast<std::size_t>(count), 0);
  }
};

const Register<Arrivals> kClosedLoop{"closed_loop",
                                     "max_concurrency users, each waits for its answer",
                                     [](Reader&) { return std::make_unique<ClosedLoop>(); }};

}  // namespace
}  // namespace moesim
