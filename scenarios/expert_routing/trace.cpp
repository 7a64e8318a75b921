#include <fmt/format.h>
#include <memory>
#include <string>
#include <utility>

#include "scenarios/adapt_trace.h"
#include "scenarios/domain_mix.h"
#include "scenarios/expert_routing.h"
#include "scenarios/latent_fit.h"
#include "scenarios/latent_tokens.h"
#include "scenarios/load_drift.h"
#include "scenarios/next_choices.h"
#include "scenarios/routing_trace.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

struct Recording {
  std::string file;
  Where where;
  std::string key;
  Where adapt_where;
  std::string adapt_key;
  RoutingReplay::Options options;  ///< without the seed
  GivenMix mix;
  Adapt adapt = Adapt::kNone;
};

/// Recorded tokens of the model itself, replayed (routing-traces.md 3). A trace of another model is
/// refused: its expert ids would mean nothing. What may be adapted is said by `adapt`.
class Trace final : public ExpertRouting {
 public:
  explicit Trace(Recording recording) : recording_(std::move(recording)) {}

  void check(const RoutingShape& shape) const override {
    const RoutingTable table = read_routed_tokens(recording_.file);
    check_model(table, shape);
    check_domain_names(recording_.mix, table.domains);
  }
  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                   std::uint64_t seed, std::uint64_t /*epoch*/) const override {
    RoutingTable own = read_routed_tokens(recording_.file);
    if (fits(own.shape(), shape)) return own;
    return recording_.adapt == Adapt::kLayers ? with_layers(own, shape.layers)
                                              : like(own, shape, size, seed);
  }
  [[nodiscard]] std::string remark(const RoutingShape& shape) const override {
    const RoutingShape own = read_routed_tokens(recording_.file).shape();
    if (fits(own, shape)) return "";
    if (recording_.adapt == Adapt::kLayers)
      return fmt::format("routing: the {} layers of the trace serve {}, in proportion", own.layers,
                         shape.layers);
    return fmt::format(
        "routing: the trace is of top-{} of {} experts in {} layers, not top-{} of {} in {}: "
        "tokens "
        "are a generator's, fitted to it",
        own.top_k, own.experts, own.layers, shape.top_k, shape.experts, shape.layers);
  }
  /// Tokens of a fitted generator have logits of all experts; recorded ones the ids recorded.
  [[nodiscard]] bool knows_next(const RoutingShape& shape) const override {
    const RoutingShape own = read_routed_tokens(recording_.file).shape();
    RoutingShape listed = shape;
    listed.top_k += next_choices_of(shape);
    return ranks_all() && !fits(own, shape) && !fits(own, listed);
  }
  [[nodiscard]] bool ranks_all() const override { return recording_.adapt == Adapt::kExperts; }
  [[nodiscard]] RoutingReplay::Options replay(std::uint64_t seed) const override {
    RoutingReplay::Options options = recording_.options;
    options.seed = seed;
    return options;
  }

 private:
  void check_model(const RoutingTable& table, const RoutingShape& shape) const {
    const auto fail = [&](const std::string& problem, const std::string& hint) {
      throw_input_error({recording_.where, recording_.key, problem, hint});
    };
    const Mismatch mismatch = mismatch_of(table.shape(), shape, recording_.adapt, true);
    if (mismatch.of_adapt)
      throw_input_error(
          {recording_.adapt_where, recording_.adapt_key, mismatch.problem, mismatch.hint});
    if (!mismatch.problem.empty()) fail(mismatch.problem, mismatch.hint);
    if (table.physical)
      fail("its ids are of stored copies, not of the model's experts",
           "name the map of its copies: moesim routing convert --map FILE");
    if (table.rows() == 0) fail("holds no tokens", "give another trace");
    const bool fitted = recording_.adapt == Adapt::kExperts && !fits(table.shape(), shape);
    if (fitted && overlaps_of(table, 2).empty())
      fail("is too short to fit a generator to: two sequences of nine tokens are needed",
           "give a longer trace");
  }

  static bool fits(const RoutingShape& own, const RoutingShape& model) {
    return mismatch_of(own, model, Adapt::kNone, true).problem.empty();
  }

  /// Tokens of a generator fitted to the trace: its domains, and of each layer the fit of the layer
  /// as deep in it.
  static RoutingTable like(const RoutingTable& own, const RoutingShape& shape,
                           const TableSize& size, std::uint64_t seed) {
    LatentParameters parameters = fit_latent(own);
    if (!own.domains.empty()) parameters.domains = static_cast<int>(own.domains.size());
    LatentTokens tokens(shape, parameters, seed);
    for (int l = 0; l < shape.layers; ++l) {
      const int traced = traced_layer(l, shape.layers, own.shape().layers);
      tokens.add_layer(parameters.by_layer[static_cast<std::size_t>(traced)],
                       normal_scores(shape.experts, seed, l));
    }
    RoutingTable table = empty_table(shape, size);
    tokens.fill(table);
    table.domains = own.domains;
    return table;
  }

  Recording recording_;
};

RoutingReplay::Mode read_mode(Reader& in) {
  const std::string mode = in.choice_or("mode", {"sequence", "row", "independent"}, "sequence");
  if (mode == "row") return RoutingReplay::Mode::kRow;
  return mode == "independent" ? RoutingReplay::Mode::kIndependent : RoutingReplay::Mode::kSequence;
}

const Register<ExpertRouting> kTrace{"trace", "recorded tokens, replayed by sequence, row or layer",
                                     [](Reader& in) {
                                       Recording recording;
                                       recording.file = in.text("path");
                                       recording.where = in.where("path");
                                       recording.key = in.path("path");
                                       recording.options.mode = read_mode(in);
                                       recording.options.replace = in.boolean_or("replace", true);
                                       recording.adapt = read_adapt(in, true);
                                       recording.adapt_where = in.where("adapt");
                                       recording.adapt_key = in.path("adapt");
                                       recording.mix = read_domain_mix(in);
                                       recording.options.domain_mix = recording.mix.mixes;
                                       return std::make_unique<Trace>(std::move(recording));
                                     }};

}  // namespace
}  // namespace moesim
