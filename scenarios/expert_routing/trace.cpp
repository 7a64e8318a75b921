#include <fmt/format.h>
#include <memory>
#include <string>
#include <utility>

#include "scenarios/domain_mix.h"
#include "scenarios/expert_routing.h"
#include "scenarios/routing_trace.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

struct Recording {
  std::string file;
  Where where;
  std::string key;
  RoutingReplay::Options options;  ///< without the seed
  GivenMix mix;
};

/// Recorded tokens of the model itself, replayed (routing-traces.md 3). A trace of another model is
/// refused: its expert ids would mean nothing.
class Trace final : public ExpertRouting {
 public:
  explicit Trace(Recording recording) : recording_(std::move(recording)) {}

  void check(const RoutingShape& shape) const override {
    const RoutingTable table = read_routed_tokens(recording_.file);
    check_model(table, shape);
    check_domain_names(recording_.mix, table.domains);
  }
  [[nodiscard]] RoutingTable table(const RoutingShape& /*shape*/, const TableSize& /*size*/,
                                   std::uint64_t /*seed*/, std::uint64_t /*epoch*/) const override {
    return read_routed_tokens(recording_.file);
  }
  [[nodiscard]] RoutingReplay::Options replay(std::uint64_t seed) const override {
    RoutingReplay::Options options = recording_.options;
    options.seed = seed;
    return options;
  }

 private:
  void check_model(const RoutingTable& table, const RoutingShape& shape) const {
    const RoutingShape& own = table.shape();
    const auto fail = [&](const std::string& problem, const std::string& hint) {
      throw_input_error({recording_.where, recording_.key, problem, hint});
    };
    if (own.layers != shape.layers || own.experts != shape.experts || own.top_k != shape.top_k) {
      fail(
          fmt::format("its tokens choose {} of {} experts in {} layers, the model's {} of {} in {}",
                      own.top_k, own.experts, own.layers, shape.top_k, shape.experts, shape.layers),
          "give a trace of this model, or a generator such as kind: latent_logit");
    }
    if (table.physical)
      fail("its ids are of stored copies, not of the model's experts",
           "convert it with the map of its copies first");
    if (table.rows() == 0) fail("holds no tokens", "give another trace");
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
                                       recording.mix = read_domain_mix(in);
                                       recording.options.domain_mix = recording.mix.mixes;
                                       return std::make_unique<Trace>(std::move(recording));
                                     }};

}  // namespace
}  // namespace moesim
