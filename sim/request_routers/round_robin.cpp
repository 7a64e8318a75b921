#include "sim/base/registry.h"
#include "sim/engine/request_router.h"

namespace moesim {
namespace {

class RoundRobin final : public RequestRouter {
 public:
  bool needs_load() const override { return false; }
  void start(std::uint64_t, std::size_t, const Workload&) override { next_ = 0; }
  std::size_t pick(std::uint32_t, std::span<const InstanceLoad> loads) override {
    return next_++ % loads.size();
  }

 private:
  std::size_t next_ = 0;
};

const Register<RequestRouter> kRoundRobin{"round_robin", "in turn; looks at nothing",
                                          [](Reader&) { return std::make_unique<RoundRobin>(); }};

}  // namespace
}  // namespace moesim
