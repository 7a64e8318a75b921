#include "models/placement.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sim/base/check.h"
#include "sim/base/diagnostic.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

}  // namespace

int ExpertPlacement::rank_of(int slot) const {
  const auto past = std::upper_bound(first_slot.begin(), first_slot.end(), slot);
  return static_cast<int>(past - first_slot.begin()) - 1;
}

ExpertPlacement empty_placement(int layers, int experts, int slots, int ranks) {
  MOESIM_CHECK(ranks > 0 && slots >= experts, "every expert has room");
  ExpertPlacement placement;
  placement.layers = layers;
  placement.experts = experts;
  placement.ranks = ranks;
  placement.slots = slots;
  placement.first_slot.reserve(at(ranks) + 1);
  placement.first_slot.push_back(0);
  for (int rank = 0; rank < ranks; ++rank) {
    const int own = slots / ranks + (rank < slots % ranks ? 1 : 0);
    placement.first_slot.push_back(placement.first_slot.back() + own);
  }
  placement.logical.assign(at(layers) * at(slots), 0);
  return placement;
}

std::vector<double> rank_loads(const ExpertPlacement& placement, int layer,
                               std::span<const double> loads) {
  MOESIM_CHECK(loads.size() == at(placement.experts), "one load per logical expert");
  const std::span<const std::uint16_t> slots = placement.layer(layer);
  std::vector<int> copies(loads.size(), 0);
  for (const std::uint16_t expert : slots) ++copies[expert];
  std::vector<double> result(at(placement.ranks), 0);
  for (int rank = 0; rank < placement.ranks; ++rank) {
    for (int slot = placement.first_slot[at(rank)]; slot < placement.first_slot[at(rank) + 1];
         ++slot) {
      const std::uint16_t expert = slots[at(slot)];
      result[at(rank)] += loads[expert] / copies[expert];
    }
  }
  return result;
}

std::unique_ptr<Placement> make_placement(const PlacementSpec& spec) {
  const auto* entry = Registry<Placement>::find(spec.name);
  if (entry == nullptr) {
    throw_input_error({{},
                       "placement",
                       "unknown placement '" + spec.name + "'",
                       nearest_name_hint(spec.name, Registry<Placement>::names())});
  }
  using nlohmann::json;
  const json parameters{{"file", spec.file}};
  const Document document =
      Document::parse(parameters.dump(-1, ' ', false, json::error_handler_t::replace), "placement");
  Diagnostics diagnostics;
  Reader reader(document, diagnostics);
  std::unique_ptr<Placement> placement = entry->make(reader);
  diagnostics.throw_if_any();
  return placement;
}

}  // namespace moesim
