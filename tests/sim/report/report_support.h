#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <sstream>
#include <string>
#include <vector>

#include "sim/report/metrics.h"
#include "sim/report/report.h"

namespace moesim {

constexpr SimTime ms(double value) {
  return static_cast<SimTime>(value * 1e6 + 0.5);
}

/// A run written down by hand: fill in requests and steps, then look at its report.
struct HandMadeRun {
  Scenario scenario;
  Deployment deployment;
  Workload workload;
  RequestTable requests;
  std::vector<InstanceTotals> totals;
  SimTime end_time = 0;

  /// `instances` engines of one GPU each, whose memory plan has 100 blocks of 16 tokens.
  explicit HandMadeRun(int instances = 1);

  /// A completed request; times in milliseconds. Returns its row. Without a time of its own the
  /// second token follows the first at the mean gap.
  struct Times {
    double arrival = 0, scheduled = 0, first_token = 0, finish = 0, second_token = -1;
  };
  std::size_t complete(const Times& times, std::uint32_t prompt, std::uint32_t output,
                       std::uint16_t instance = 0);
  /// A request that was sent and did not complete.
  std::size_t leave(double arrival_ms, RequestStatus status);

  [[nodiscard]] RunView view() const;
  /// The report of this run with the steps `metrics` saw.
  [[nodiscard]] RunResult result(const Metrics& metrics) const;
  /// The same without any step.
  [[nodiscard]] RunResult result() const;

 private:
  std::size_t add(RequestStatus status);
};

/// A GPU whose parts add up to `capacity` bytes.
[[nodiscard]] GpuMemory hand_made_gpu(std::int64_t capacity);

/// A decode step of instance 0 that follows the previous one at once. Times in milliseconds.
[[nodiscard]] StepRecord hand_made_step(std::uint64_t number, double begin_ms, double end_ms,
                                        const TermTimes& terms);

[[nodiscard]] std::string json_of(const RunResult& result);
[[nodiscard]] std::string text_of(const RunResult& result);

namespace hand_made {

template <class T>
inline void append(std::vector<T>& column, T value) {
  column.push_back(value);
}

inline ModelSpec small_model() {
  ModelSpec model;
  model.id = "test/small-moe";
  model.model_type = "mixtral";
  model.family = "gqa_moe";
  model.hidden = 64;
  model.vocab = 128;
  model.heads = 4;
  model.kv_heads = 2;
  model.head_dim = model.v_head_dim = 16;
  LayerSpec layer;
  layer.moe = true;
  layer.num_experts = 8;
  layer.top_k = 2;
  layer.expert_intermediate = 32;
  model.layers.assign(2, layer);
  return model;
}

inline InstanceInfo small_instance(int number) {
  InstanceInfo info;
  info.name = std::to_string(number);
  info.gpus = {number};
  info.memory.feasible = true;
  info.memory.num_gpu_blocks = 100;
  info.memory.num_kv_tokens = 1600;
  info.memory.max_concurrency_at_max_model_len = 1.5;
  info.memory.kv.block_size = 16;
  info.memory.kv.bytes_per_token = Bytes(256);
  info.memory.gpus = {hand_made_gpu(80'000)};
  return info;
}

}  // namespace hand_made

inline HandMadeRun::HandMadeRun(int instances) {
  scenario.name = "hand-made";
  scenario.model = hand_made::small_model();
  scenario.resolved_json =
      R"({"schema_version": 1, "name": "hand-made", "engine": {"max_num_seqs": 8}})";
  NodeGroup nodes;
  nodes.system.name = "a100_sxm";
  nodes.system.source = "a datasheet";
  nodes.gpus = instances;
  scenario.cluster.nodes = {nodes};
  scenario.request_router.name = "round_robin";
  InstanceSpec spec;
  spec.count = instances;
  spec.engine.backend_version = "0.21";
  spec.engine.max_model_len = 1024;
  spec.engine.max_num_seqs = 8;
  spec.engine.max_num_batched_tokens = 512;
  spec.engine.profile.async_scheduling = true;
  spec.engine.cudagraph_capture_sizes = default_capture_sizes(51, 8, 512);
  scenario.instances = {spec};
  scenario.workload.arrival.policy.name = "poisson";
  scenario.workload.arrival.request_rate = 2;
  for (int i = 0; i < instances; ++i) deployment.instances.push_back(hand_made::small_instance(i));
  totals.resize(static_cast<std::size_t>(instances));
  for (InstanceTotals& total : totals) total.kv_blocks_total = 100;
}

inline std::size_t HandMadeRun::add(RequestStatus status) {
  const std::size_t row = requests.size();
  hand_made::append(requests.arrival, kNever);
  hand_made::append(requests.first_scheduled, kNever);
  hand_made::append(requests.first_token, kNever);
  hand_made::append(requests.second_token, kNever);
  hand_made::append(requests.finish, kNever);
  hand_made::append(requests.output_tokens, 1U);
  hand_made::append(requests.generated, 0U);
  hand_made::append(requests.cached_tokens, 0U);
  hand_made::append(requests.preemptions, std::uint16_t{0});
  hand_made::append(requests.instance, std::uint16_t{0});
  hand_made::append(requests.dp_rank, std::uint16_t{0});
  hand_made::append(requests.status, status);
  hand_made::append(workload.arrival_ns, std::int64_t{0});
  hand_made::append(workload.prompt_tokens, 1U);
  hand_made::append(workload.output_tokens, 1U);
  return row;
}

inline std::size_t HandMadeRun::complete(const Times& times, std::uint32_t prompt,
                                         std::uint32_t output, std::uint16_t instance) {
  const std::size_t row = add(RequestStatus::kCompleted);
  requests.arrival[row] = workload.arrival_ns[row] = ms(times.arrival);
  requests.first_scheduled[row] = ms(times.scheduled);
  requests.first_token[row] = ms(times.first_token);
  if (output > 1) {
    const double gap = (times.finish - times.first_token) / (output - 1.0);
    requests.second_token[row] =
        ms(times.second_token >= 0 ? times.second_token : times.first_token + gap);
  }
  requests.finish[row] = ms(times.finish);
  requests.output_tokens[row] = requests.generated[row] = workload.output_tokens[row] = output;
  requests.instance[row] = instance;
  workload.prompt_tokens[row] = prompt;
  end_time = std::max(end_time, ms(times.finish));
  return row;
}

inline std::size_t HandMadeRun::leave(double arrival_ms, RequestStatus status) {
  const std::size_t row = add(status);
  requests.arrival[row] = workload.arrival_ns[row] = ms(arrival_ms);
  return row;
}

inline RunView HandMadeRun::view() const {
  RunView view{scenario, deployment, workload, requests, totals, 0x1234,
               end_time, 10,         {},       {},       false};
  view.provenance_ns[static_cast<std::size_t>(Provenance::kRoofline)] = 3;
  view.provenance_ns[static_cast<std::size_t>(Provenance::kAssumed)] = 1;
  return view;
}

inline RunResult HandMadeRun::result(const Metrics& metrics) const {
  return make_result(view(), metrics, {2000, 1000});
}

inline RunResult HandMadeRun::result() const {
  return result(Metrics(static_cast<int>(totals.size()), scenario, workload));
}

inline GpuMemory hand_made_gpu(std::int64_t capacity) {
  GpuMemory gpu;
  gpu.capacity = Bytes(capacity);
  gpu.usable = Bytes(capacity * 9 / 10);
  gpu.weights.attention = Bytes(1'000);
  gpu.weights.routed_experts = Bytes(40'000);
  gpu.weights.router = Bytes(30);
  gpu.kv_cache = Bytes(20'000);
  gpu.activation_peak = Bytes(500);
  gpu.cuda_graph = Bytes(70);
  gpu.comm_buffer = Bytes(8);
  gpu.framework = Bytes(2'000);
  gpu.free = gpu.capacity - gpu.weights.total() - Bytes(20'000 + 500 + 70 + 8 + 2'000);
  return gpu;
}

inline StepRecord hand_made_step(std::uint64_t number, double begin_ms, double end_ms,
                                 const TermTimes& terms) {
  StepRecord record;
  record.step = number;
  record.scheduled = record.launched = record.gpu_start = ms(begin_ms);
  record.gpu_end = record.out_done = ms(end_ms);
  static std::deque<StageSpan> spans;  // that stay where they are
  spans.push_back({record.gpu_start, record.gpu_end});
  record.stages = {&spans.back(), 1};
  record.decodes = record.sequences = record.tokens_out = 4;
  record.running = 4;
  record.kv_blocks_used = 10;
  record.terms = &terms;
  return record;
}

inline std::string json_of(const RunResult& result) {
  std::ostringstream out;
  write_json(result, out);
  return out.str();
}

inline std::string text_of(const RunResult& result) {
  std::ostringstream out;
  write_text(result, out);
  return out.str();
}

}  // namespace moesim
