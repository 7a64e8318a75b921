#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sim/base/reader.h"
#include "sim/base/registry.h"
#include "sim/engine/instance.h"
#include "sim/engine/observer.h"
#include "sim/engine/simulation.h"

namespace moesim {

/// A registered implementation, made without parameters.
template <class Interface>
std::unique_ptr<Interface> made(const std::string& name) {
  const auto* entry = Registry<Interface>::find(name);
  MOESIM_CHECK(entry != nullptr, "the test names something registered");
  const Document document = Document::parse("{}", "none");
  Diagnostics diagnostics;
  Reader reader(document, diagnostics);
  return entry->make(reader);
}

/// What a step takes in whole nanoseconds; every pipeline stage takes as long.
struct StepFormula {
  double step_ns = 1000, decode_ns = 0, prompt_ns = 0, context_ns = 0;
};

/// Prices steps by a formula and remembers what was in each.
class FormulaSteps final : public StepPricer {
 public:
  struct Seen {
    int decodes = 0;
    std::int64_t context = 0;  ///< of the decodes, first KV group
    std::vector<PromptChunk> chunks;
    SimTime stage_ns = 0;
  };
  FormulaSteps(const StepFormula& formula, int stages) : formula_(formula), stages_(stages) {}

  void price(const StepWork& work, StepCost& cost) override {
    const auto context = static_cast<double>(work.decode_context[0]);
    double ns =
        formula_.step_ns + formula_.decode_ns * work.decodes + formula_.context_ns * context;
    for (const PromptChunk& chunk : work.chunks) ns += formula_.prompt_ns * chunk.tokens;
    cost.stage_ns.assign(static_cast<std::size_t>(stages_), ns);
    seen.push_back({work.decodes,
                    work.decode_context[0],
                    {work.chunks.begin(), work.chunks.end()},
                    to_sim_time(Seconds(ns * 1e-9))});
  }
  [[nodiscard]] int stages() const override { return stages_; }

  std::vector<Seen> seen;

 private:
  StepFormula formula_;
  int stages_;
};

/// Everything a run tells an observer.
struct Recorder final : Observer {
  void step(const StepRecord& record) override {
    steps.push_back(record);
    steps.back().terms = nullptr;
    steps.back().stages = {};
    stages.emplace_back(record.stages.begin(), record.stages.end());
  }
  void inter_token(InstanceId, SimTime gap, std::int64_t count) override { gaps[gap] += count; }
  void preempted(InstanceId, RequestId request, SimTime) override {
    preemptions.push_back(request.value);
  }
  void finished(InstanceId, RequestId request, SimTime when) override {
    finishes.emplace_back(request.value, when);
  }
  [[nodiscard]] std::vector<StepRecord> steps_of(std::size_t instance) const {
    std::vector<StepRecord> mine;
    for (const StepRecord& step : steps) {
      if (step.instance.index() == instance) mine.push_back(step);
    }
    return mine;
  }
  [[nodiscard]] std::int64_t gap_count() const {
    std::int64_t sum = 0;
    for (const auto& [gap, count] : gaps) sum += count;
    return sum;
  }

  /// Of one instance's steps.
  [[nodiscard]] std::vector<std::vector<StageSpan>> stages_of(std::size_t instance) const {
    std::vector<std::vector<StageSpan>> mine;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].instance.index() == instance) mine.push_back(stages[i]);
    }
    return mine;
  }

  std::vector<StepRecord> steps;
  std::vector<std::vector<StageSpan>> stages;  ///< of each step
  std::map<SimTime, std::int64_t> gaps;
  std::vector<std::uint32_t> preemptions;
  std::vector<std::pair<std::uint32_t, SimTime>> finishes;
};

/// A few engines alike, small enough to follow by hand: one full-attention group, synchronous, no
/// host cost, no prefix cache and steps of 1000 ns, unless changed.
struct SmallCluster {
  int instances = 1;
  std::string router = "round_robin", scheduler = "vllm_v1";
  Limits limits = {.max_num_seqs = 8,
                   .max_num_batched_tokens = 64,
                   .max_model_len = 256,
                   .long_prefill_token_threshold = 0,
                   .chunked_prefill = true,
                   .reserve_full_isl = false,
                   .priority = false,
                   .async = false,
                   .finish_eos = false,
                   .pipeline_stages = 1};
  int block_size = 4;
  std::int64_t blocks = 1000;
  std::vector<KvGroup> groups = {{AttentionKind::kFull, 0, 1}};
  bool caching = false;
  HostCost host = {0, 0, 0, 0, 0, 0, 0, 0};
  StepFormula formula = {};
  Simulation::Options options = {};  ///< max_model_len comes from `limits`

  [[nodiscard]] Instance::Config config(std::size_t instance) const {
    Instance::Config result;
    result.id = InstanceId{static_cast<std::uint32_t>(instance)};
    result.limits = limits;
    result.kv = {.usable_blocks = blocks,
                 .block_size = block_size,
                 .groups = groups,
                 .prefix_caching = caching,
                 .max_num_batched_tokens = limits.max_num_batched_tokens,
                 .max_model_len = limits.max_model_len};
    result.host = host;
    result.always_ahead = limits.extra_step;
    result.queue_depth = limits.pipeline_stages > 1 ? limits.pipeline_stages : limits.async ? 2 : 1;
    return result;
  }
};

/// One request of a hand-made workload.
struct Ask {
  SimTime arrival = 0;
  std::uint32_t prompt = 4, output = 1;
};

[[nodiscard]] inline Workload asked(const std::vector<Ask>& requests) {
  Workload workload;
  for (const Ask& ask : requests) {
    workload.arrival_ns.push_back(ask.arrival);
    workload.prompt_tokens.push_back(ask.prompt);
    workload.output_tokens.push_back(ask.output);
  }
  return workload;
}

/// A small cluster with its requests; runs to the end when made.
class SmallRun {
 public:
  SmallRun(const SmallCluster& cluster, Workload workload, bool observed = true) {
    Simulation::Options options = cluster.options;
    options.max_model_len = cluster.limits.max_model_len;
    simulation_ = std::make_unique<Simulation>(std::move(workload),
                                               made<RequestRouter>(cluster.router), options);
    for (std::size_t i = 0; i < static_cast<std::size_t>(cluster.instances); ++i) {
      pricers_.push_back(
          std::make_unique<FormulaSteps>(cluster.formula, cluster.limits.pipeline_stages));
      simulation_->add(std::make_unique<Instance>(
          cluster.config(i), simulation_->workload(), simulation_->table(),
          made<Scheduler>(cluster.scheduler), *pricers_.back()));
    }
    simulation_->run(observed ? &recorder_ : nullptr);
  }

  [[nodiscard]] const Simulation& simulation() const { return *simulation_; }
  [[nodiscard]] const RequestTable& table() const { return std::as_const(*simulation_).table(); }
  [[nodiscard]] const Workload& workload() const { return simulation_->workload(); }
  [[nodiscard]] const Recorder& recorder() const { return recorder_; }
  [[nodiscard]] const Instance& instance(std::size_t i) const {
    return *simulation_->instances()[i];
  }
  [[nodiscard]] const std::vector<FormulaSteps::Seen>& seen(std::size_t instance) const {
    return pricers_[instance]->seen;
  }
  [[nodiscard]] std::size_t count(RequestStatus status) const {
    return static_cast<std::size_t>(
        std::count(table().status.begin(), table().status.end(), status));
  }

 private:
  std::vector<std::unique_ptr<FormulaSteps>> pricers_;
  std::unique_ptr<Simulation> simulation_;
  Recorder recorder_;
};

}  // namespace moesim
