#include "sim/base/registry.h"
#include "sim/engine/request_router.h"

namespace moesim {
namespace {

/// Fewest requests waiting or running, from counts that are never stale.
class LeastLoaded final : public RequestRouter {
 public:
  bool needs_load() const override { return true; }
  void start(std::uint64_t, std::size_t, const Workload&) override {}
  std::size_t pick(std::uint32_t, std::span<const InstanceLoad> loads) override {
    std::size_t best = 0;
    for (std::size_t i = 1; i < loads.size(); ++i) {
      if (loads[i].waiting + loads[i].running < loads[best].waiting + loads[best].running) best = i;
    }
    return best;
  }
};

const Register<RequestRouter> kLeastLoaded{"least_loaded", "fewest waiting and running requests",
                                           [](Reader&) { return std::make_unique<LeastLoaded>(); }};

}  // namespace
}  // namespace moesim
