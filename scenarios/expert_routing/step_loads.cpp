#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "scenarios/adapt_trace.h"
#include "scenarios/expert_routing.h"
#include "scenarios/routing_trace.h"
#include "scenarios/share_routing.h"
#include "scenarios/step_replay.h"
#include "sim/base/diagnostic.h"
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
  StepReplay::Options options;  ///< without the seed
  Adapt adapt = Adapt::kNone;
};

/// Recorded loads of engine steps, step by step (routing-traces.md 3.4). Who wants tokens (a
/// placement study, a kind this is the base of) gets independent ones with the loads of all steps
/// together, as of kind `loads`.
class RecordedSteps final : public ExpertRouting {
 public:
  explicit RecordedSteps(Recording recording) : recording_(std::move(recording)) {}

  void check(const RoutingShape& shape) const override { static_cast<void>(read(shape)); }
  [[nodiscard]] std::unique_ptr<StepReplay> steps(const RoutingShape& shape,
                                                  std::uint64_t seed) const override {
    StepReplay::Options options = recording_.options;
    options.seed = seed;
    return std::make_unique<StepReplay>(read(shape), options);
  }
  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                   std::uint64_t seed, std::uint64_t epoch) const override {
    const StepLoads loads = read(shape);
    const auto experts = static_cast<std::size_t>(shape.experts);
    std::vector<std::vector<double>> sums(static_cast<std::size_t>(shape.layers),
                                          std::vector<double>(experts, 0.0));
    for (std::size_t i = 0; i < loads.counts.size(); ++i)
      sums[i / experts % sums.size()][i % experts] += loads.counts[i];
    return KnownLoads(std::move(sums), {}).table(shape, size, seed, epoch);
  }
  [[nodiscard]] bool independent_tokens() const override { return true; }

 private:
  /// The file's steps for a model of this shape. Throws InputError.
  [[nodiscard]] StepLoads read(const RoutingShape& shape) const {
    const auto fail = [&](const std::string& problem, const std::string& hint) {
      throw_input_error({recording_.where, recording_.key, problem, hint});
    };
    RoutingTrace trace = read_routing_trace(recording_.file);
    StepLoads* const loads = std::get_if<StepLoads>(&trace);
    if (loads == nullptr)
      fail("holds tokens, not loads of steps", "write kind: trace to replay them");
    const Mismatch mismatch = mismatch_of(loads->shape, shape, recording_.adapt, false);
    if (mismatch.of_adapt)
      throw_input_error(
          {recording_.adapt_where, recording_.adapt_key, mismatch.problem, mismatch.hint});
    if (!mismatch.problem.empty()) fail(mismatch.problem, mismatch.hint);
    if (loads->physical)
      fail("its ids are of stored copies, not of the model's experts",
           "name the map of its copies: moesim routing convert --map FILE");
    bool some = false;
    for (std::size_t step = 0; step < loads->steps.size(); ++step)
      some = some || StepReplay::has_load(*loads, step);
    if (!some) fail("holds no step with load on every layer", "give another trace");
    return loads->shape.layers == shape.layers ? std::move(*loads)
                                               : with_layers(*loads, shape.layers);
  }

  Recording recording_;
};

const Register<ExpertRouting> kStepLoads{
    "step_loads", "recorded loads of engine steps, one after the other", [](Reader& in) {
      Recording recording;
      recording.file = in.text("path");
      recording.where = in.where("path");
      recording.key = in.path("path");
      recording.adapt = read_adapt(in, false);
      recording.adapt_where = in.where("adapt");
      recording.adapt_key = in.path("adapt");
      if (in.choice_or("order", {"keyed", "in_order"}, "keyed") == "in_order")
        recording.options.order = StepReplay::Order::kInOrder;
      if (in.choice_or("scaling", {"largest_remainder", "multinomial"}, "largest_remainder") ==
          "multinomial")
        recording.options.scaling = StepReplay::Scaling::kMultinomial;
      return std::make_unique<RecordedSteps>(std::move(recording));
    }};

}  // namespace
}  // namespace moesim
