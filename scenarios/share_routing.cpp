#include "scenarios/share_routing.h"

#include "scenarios/expert_chooser.h"
#include "scenarios/load_weights.h"
#include "sim/base/random.h"

namespace moesim {

std::vector<double> ShareRouting::first_scores(const Layer& layer) const {
  return normal_scores(layer.shape.experts, layer.seed, layer.index);
}

std::vector<double> KnownLoads::first_scores(const Layer& layer) const {
  return given_by_rank(ShareRouting::first_scores(layer), of(layer));
}

std::vector<double> KnownLoads::weights(const Layer& layer,
                                        const std::vector<double>& scores) const {
  return weights_for_loads(given_by_rank(of(layer), scores), layer.shape.top_k);
}

RoutingTable ShareRouting::table(const RoutingShape& shape, const TableSize& size,
                                 std::uint64_t seed, std::uint64_t epoch) const {
  std::vector<ExpertChooser> choosers;
  for (int l = 0; l < shape.layers; ++l) {
    const Layer layer{shape, l, seed};
    choosers.emplace_back(shape,
                          weights(layer, drift_.scores(first_scores(layer), seed, l, epoch)));
  }
  RoutingTable table = empty_table(shape, size);
  std::vector<int> chosen(static_cast<std::size_t>(shape.top_k));
  for (const RoutedSequence& sequence : table.sequences) {
    Rng rng(seed, "expert_choices", sequence.source_id);
    for (std::uint64_t row = sequence.first_row; row < sequence.first_row + sequence.rows; ++row) {
      for (int layer = 0; layer < shape.layers; ++layer) {
        choosers[static_cast<std::size_t>(layer)].choose(rng, chosen);
        for (int rank = 0; rank < shape.top_k; ++rank)
          table.set(row, layer, rank, chosen[static_cast<std::size_t>(rank)]);
      }
    }
  }
  return table;
}

}  // namespace moesim
