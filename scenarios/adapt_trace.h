#pragma once

#include <cstdint>
#include <string>

#include "scenarios/routing_table.h"

namespace moesim {

class Reader;

/// What may be done with a routing trace of another model's shape (routing-traces.md 3, `adapt`).
/// Ids of experts are never renumbered: they mean nothing elsewhere.
enum class Adapt : std::uint8_t {
  kNone,
  kLayers,   ///< as many experts and choices, other layers: each takes one of the trace
  kExperts,  ///< tokens of a generator fitted to the trace's statistics
};
/// `adapt: layers | experts`; a kind of routing without tokens knows `layers` alone.
[[nodiscard]] Adapt read_adapt(Reader& in, bool tokens);

/// Layer of the trace that serves layer `layer` of `layers`: floor(layer * traced / layers).
[[nodiscard]] int traced_layer(int layer, int layers, int traced);
/// The same rows or steps for a model of so many layers. Rows of a mapped file are checked.
[[nodiscard]] RoutingTable with_layers(const RoutingTable& table, int layers);
[[nodiscard]] StepLoads with_layers(const StepLoads& loads, int layers);

/// Why a trace of shape `own` cannot serve a model of shape `model`, and what would help; empty
/// texts if it can.
struct Mismatch {
  std::string problem, hint;
  bool of_adapt = false;  ///< `adapt` is the mistake: there is nothing to adapt
};
[[nodiscard]] Mismatch mismatch_of(const RoutingShape& own, const RoutingShape& model, Adapt adapt,
                                   bool tokens);

}  // namespace moesim
