#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "scenarios/workload.h"
#include "sim/engine/instance.h"
#include "sim/engine/request.h"
#include "sim/engine/scheduler.h"
#include "sim/steptime/step_time.h"
#include "tests/reference/plain_scheduler.h"

namespace moesim::reference {

/// Prices steps by a formula in whole nanoseconds, and remembers the last step it priced.
class FormulaPricer final : public StepPricer {
 public:
  struct Terms {
    double step_ns = 1000, decode_ns = 10, context_ns = 1, prompt_ns = 5, attention_ns = 0,
           row_ns = 0;
    double stage_ns = 0;  ///< each pipeline stage takes this much longer than the one before
  };
  FormulaPricer(const Terms& terms, int stages) : terms_(terms), stages_(stages) {}

  void price(const StepWork& work, StepCost& cost) override;
  [[nodiscard]] int stages() const override { return stages_; }

  [[nodiscard]] const std::vector<PromptChunk>& last_chunks() const { return chunks_; }
  [[nodiscard]] const StepWork& last_work() const { return work_; }

 private:
  Terms terms_;
  int stages_;
  StepWork work_;
  std::vector<PromptChunk> chunks_;
};

/// A registered scheduler that takes no parameters.
[[nodiscard]] std::unique_ptr<Scheduler> make_scheduler(const std::string& name);

/// A request table for `workload` as the simulation fills it: outputs cut at max_model_len.
[[nodiscard]] RequestTable make_table(const Workload& workload, const Limits& limits);

[[nodiscard]] Instance::Config instance_config(const PlainConfig& config);

/// Feeds the workload's arrivals to an instance and lets it act, in time order, until nothing is
/// left or after `max_actions`. `after` is told the time of every arrival and action.
void run_to_end(Instance& instance, const Workload& workload, Observer* observer,
                const std::function<void(SimTime)>& after = {},
                std::uint64_t max_actions = 1'000'000'000);

/// The engine over the same scenario as run_plain, told in the same words. Decodes come before
/// chunks in `parts` (see comparable()). Checks the engine's invariants after every action.
[[nodiscard]] PlainResult run_engine(const PlainConfig& config, const Workload& workload,
                                     FormulaPricer& pricer);

/// The first difference between two runs in words; empty if there is none.
[[nodiscard]] std::string first_difference(const PlainConfig& config, PlainResult plain,
                                           PlainResult engine);

[[nodiscard]] std::string describe(const PlainCall& call);

}  // namespace moesim::reference
