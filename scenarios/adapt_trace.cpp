#include "scenarios/adapt_trace.h"

#include <algorithm>
#include <fmt/format.h>
#include <vector>

#include "sim/base/reader.h"

namespace moesim {
namespace {

/// [layer of the model] -> layer of the trace.
std::vector<int> traced_layers(int layers, int traced) {
  std::vector<int> of;
  for (int layer = 0; layer < layers; ++layer) of.push_back(traced_layer(layer, layers, traced));
  return of;
}

/// Numbers of a model's layers mean nothing for another's.
template <class Trace>
void copy_names(const Trace& from, Trace& to) {
  to.physical = from.physical;
  to.model = from.model;
  to.metadata = from.metadata;
}

}  // namespace

Adapt read_adapt(Reader& in, bool tokens) {
  if (!in.has("adapt")) return Adapt::kNone;
  const std::vector<std::string> names =
      tokens ? std::vector<std::string>{"layers", "experts"} : std::vector<std::string>{"layers"};
  return in.choice_or("adapt", names, "layers") == "layers" ? Adapt::kLayers : Adapt::kExperts;
}

int traced_layer(int layer, int layers, int traced) {
  return static_cast<int>(static_cast<std::int64_t>(layer) * traced / layers);
}

RoutingTable with_layers(const RoutingTable& table, int layers) {
  table.check_all_rows();
  RoutingShape shape = table.shape();
  const std::vector<int> of = traced_layers(layers, shape.layers);
  shape.layers = layers;
  RoutingTable adapted(shape, table.rows());
  const std::size_t cells =
      static_cast<std::size_t>(shape.top_k) * static_cast<std::size_t>(table.cell_bytes());
  std::byte* to = adapted.writable_cells().data();
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    const std::byte* const from = table.cells().data() + row * table.row_bytes();
    for (const int layer : of)
      to = std::copy_n(from + static_cast<std::size_t>(layer) * cells, cells, to);
  }
  copy_names(table, adapted);
  adapted.sequences = table.sequences;
  adapted.domains = table.domains;
  adapted.ranked = table.ranked;
  adapted.shared_experts = table.shared_experts;
  return adapted;
}

StepLoads with_layers(const StepLoads& loads, int layers) {
  StepLoads adapted;
  copy_names(loads, adapted);
  adapted.shape = loads.shape;
  adapted.shape.layers = layers;
  adapted.steps = loads.steps;
  adapted.free_sum = loads.free_sum;
  const auto experts = static_cast<std::size_t>(loads.shape.experts);
  const auto traced = static_cast<std::size_t>(loads.shape.layers);
  const std::vector<int> of = traced_layers(layers, loads.shape.layers);
  adapted.counts.reserve(loads.steps.size() * of.size() * experts);
  for (std::size_t step = 0; step < loads.steps.size(); ++step) {
    for (const int layer : of) {
      const auto from =
          loads.counts.begin() +
          static_cast<std::ptrdiff_t>((step * traced + static_cast<std::size_t>(layer)) * experts);
      adapted.counts.insert(adapted.counts.end(), from,
                            from + static_cast<std::ptrdiff_t>(experts));
    }
  }
  return adapted;
}

Mismatch mismatch_of(const RoutingShape& own, const RoutingShape& model, Adapt adapt, bool tokens) {
  const bool experts = own.experts == model.experts && own.top_k == model.top_k;
  const bool layers = own.layers == model.layers;
  if (adapt != Adapt::kNone && experts && layers)
    return {"has no effect: the trace has the model's shape", "leave it out", true};
  if (adapt == Adapt::kExperts || (experts && (layers || adapt == Adapt::kLayers))) return {};
  Mismatch out;
  out.problem =
      fmt::format("its tokens choose {} of {} experts in {} layers, the model's {} of {} in {}",
                  own.top_k, own.experts, own.layers, model.top_k, model.experts, model.layers);
  out.hint = experts ? "give a trace of this model, or write adapt: layers"
             : tokens
                 ? "give a trace of this model, or write adapt: experts for a generator fitted "
                   "to it"
                 : "give a trace of this model, or a generator such as kind: latent_logit";
  return out;
}

}  // namespace moesim
