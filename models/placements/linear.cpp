#include "models/eplb.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// Consecutive experts on consecutive ranks, the remainder on the first (serving-semantics 3.7; vLLM
// determine_expert_map). Redundant slots come last and copy experts 0, 1, ... again, which is the
// map vLLM starts with before its first rebalance.
class Linear final : public Placement {
 public:
  ExpertPlacement place(const PlacementInput& input) const override {
    return linear_placement(input);
  }
};

const Register<Placement> kLinear{"linear", "consecutive experts on consecutive ranks",
                                  [](Reader&) { return std::make_unique<Linear>(); }};

}  // namespace

}  // namespace moesim
