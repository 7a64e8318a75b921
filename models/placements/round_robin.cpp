#include "models/placement.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// Expert e on rank e mod G: spreads each routing group over all ranks (serving-semantics 3.7).
// Redundant slots go on dealing experts 0, 1, ... vLLM itself has this for grouped-routing models
// without redundant experts only and falls back to linear elsewhere; here it is what its name says.
class RoundRobin final : public Placement {
 public:
  ExpertPlacement place(const PlacementInput& input) const override {
    ExpertPlacement out =
        empty_placement(input.layers, input.experts, input.experts + input.redundant, input.ranks);
    const auto slots = static_cast<std::size_t>(out.slots);
    std::vector<std::uint16_t> row(slots);
    for (int dealt = 0; dealt < out.slots; ++dealt) {
      const int slot =
          out.first_slot[static_cast<std::size_t>(dealt % out.ranks)] + dealt / out.ranks;
      row[static_cast<std::size_t>(slot)] = static_cast<std::uint16_t>(dealt % out.experts);
    }
    for (std::size_t i = 0; i < out.logical.size(); ++i) out.logical[i] = row[i % slots];
    return out;
  }
};

const Register<Placement> kRoundRobin{"round_robin", "expert e on rank e mod G",
                                      [](Reader&) { return std::make_unique<RoundRobin>(); }};

}  // namespace

}  // namespace moesim
