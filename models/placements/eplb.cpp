#include "models/eplb.h"

#include "sim/base/registry.h"

namespace moesim {

namespace {

// DeepSeek's expert-parallel load balancer (eplb.h), as vLLM and SGLang run it. Without loads, or
// where slots do not divide over the ranks (it packs equally many on each; scenarios refuse that),
// the linear placement.
class Eplb final : public Placement {
 public:
  ExpertPlacement place(const PlacementInput& input) const override {
    const bool divides = (input.experts + input.redundant) % input.ranks == 0;
    return input.loads.empty() || !divides ? linear_placement(input) : balanced_placement(input);
  }
};

const Register<Placement> kEplb{"eplb", "copies of hot experts, packed by load (DeepSeek EPLB)",
                                [](Reader&) { return std::make_unique<Eplb>(); }};

}  // namespace

}  // namespace moesim
