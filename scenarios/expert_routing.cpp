#include "scenarios/expert_routing.h"

#include "sim/base/check.h"

namespace moesim {

void ExpertRouting::draw(int /*layer*/, int /*tokens*/, int /*top_k*/, Rng& /*rng*/,
                         std::span<std::uint32_t> /*counts*/) const {
  MOESIM_CHECK(false, "counts are drawn without a table for exchangeable kinds only");
}

}  // namespace moesim
