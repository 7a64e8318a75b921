#include <optional>

#include "sim/base/random.h"
#include "sim/base/registry.h"
#include "sim/engine/request_router.h"

namespace moesim {
namespace {

/// Two distinct instances at random; the one with the smaller token load, the first on ties
/// (M. Mitzenmacher, IEEE TPDS 12(10), 2001; rule of SGLang's gateway: serving-semantics 6.5).
class PowerOfTwo final : public RequestRouter {
 public:
  bool needs_load() const override { return true; }
  void start(std::uint64_t seed, std::size_t, const Workload&) override {
    rng_.emplace(seed, "request_router");
  }
  std::size_t pick(std::uint32_t, std::span<const InstanceLoad> loads) override {
    const auto n = static_cast<std::uint32_t>(loads.size());
    if (n == 1) return 0;
    const std::size_t first = rng_->below(n);
    std::size_t second = rng_->below(n - 1);
    if (second >= first) ++second;
    return loads[second].tokens < loads[first].tokens ? second : first;
  }

 private:
  std::optional<Rng> rng_;
};

const Register<RequestRouter> kPowerOfTwo{"power_of_two",
                                          "the less loaded (tokens) of two random instances",
                                          [](Reader&) { return std::make_unique<PowerOfTwo>(); }};

}  // namespace
}  // namespace moesim
