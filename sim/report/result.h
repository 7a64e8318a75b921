#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/memory.h"
#include "models/op.h"
#include "scenarios/scenario.h"
#include "sim/base/stats.h"
#include "sim/steptime/kernel_model.h"

namespace moesim {

// The schema of what we report: glossary 7, section by section, units in the names. A section or a
// field that does not apply is absent (nullopt or empty), never zero.

inline constexpr int kReportSchemaVersion = 1;

/// Latencies in milliseconds, token counts in tokens.
struct LatencySection {
  std::optional<Summary> time_to_first_token, time_to_second_token, inter_token_latency;
  std::optional<Summary> request_latency;
  std::optional<Summary> time_per_output_token, queue_time;
  std::optional<Summary> output_sequence_length, input_sequence_length;
};

/// vLLM-bench names. Rates and token sums are of the completed requests that count (those that
/// arrived after the warm-up); `completed` and `failed` together are all requests of the workload.
struct SummarySection {
  double duration = 0;  ///< seconds, first counted arrival to last finish
  std::int64_t completed = 0, failed = 0;
  std::int64_t total_input_tokens = 0, total_output_tokens = 0;
  std::optional<double> request_throughput, request_goodput, output_throughput;
  std::optional<double> total_token_throughput, max_output_tokens_per_s;
  std::int64_t max_concurrent_requests = 0;
  std::optional<double> output_throughput_per_gpu, output_token_throughput_per_user, gpu_hours;
};

struct InstanceThroughput {
  std::string instance;
  std::int64_t completed = 0;
  double output_tokens_per_s = 0;
};

struct SloSection {
  SloSpec targets;
  /// Of requests, by all targets but `itl_ms`; nothing without another target.
  std::optional<double> attainment_ratio, goodput_rps;
  std::int64_t good_request_count = 0;
  std::optional<double> itl_attainment_ratio;  ///< of all gaps between tokens
  /// The same of the requests of one class of the trace.
  struct Class {
    std::string name;
    std::int64_t request_count = 0, good_request_count = 0;
    double attainment_ratio = 0, goodput_rps = 0;
  };
  std::vector<Class> per_class;  ///< those that occur, in the order in which they do
};

enum class Verdict { kStable, kBacklogged, kOverloaded };
[[nodiscard]] const char* to_text(Verdict verdict);

/// Whether the deployment keeps up with its load: see saturation.h for the rule.
struct SaturationSection {
  Verdict verdict = Verdict::kStable;
  std::optional<double> offered_rps, completed_rps, rate_deficit;
  std::optional<double> latency_trend;  ///< seconds of waiting gained per second of run
  std::int64_t still_queued = 0, still_running = 0, dropped_unservable = 0;
};

/// One GPU's memory and whose it is.
struct GpuMemoryEntry {
  std::string instance;
  GpuMemory memory;
};
/// The KV room of one data-parallel rank.
struct KvRoom {
  std::int64_t num_gpu_blocks = 0;
  int block_size = 0;
  std::int64_t num_kv_tokens = 0;
  Bytes bytes_per_token;  ///< on the GPU that limits
  double max_concurrency_at_max_model_len = 0;
};
/// Memory of one kind of instance, by the name of its first.
struct InstanceMemory {
  std::string instance;
  GpuMemory per_gpu;  ///< its fullest GPU
  KvRoom kv;
};
/// The KV room is that of the first kind of instance.
struct MemorySection : KvRoom {
  GpuMemory per_gpu;                      ///< the fullest GPU of the first kind of instance
  std::vector<GpuMemoryEntry> gpus;       ///< empty if all ranks are alike
  std::vector<InstanceMemory> instances;  ///< each kind; empty if there is one
};

struct InstanceUtilization {
  std::string instance;
  double busy_ratio = 0;  ///< GPU time of steps / run time, mean over pipeline stages
  /// In the batch, and left in the queue, after each step's scheduling: what vLLM's gauges show. A
  /// request admitted by the next step waits, but is never left.
  double running_mean = 0, waiting_mean = 0;
  std::optional<double> kv_usage_mean_ratio, kv_usage_peak_ratio;
  std::int64_t preemptions = 0;
  std::uint64_t steps = 0;
  std::int64_t prefix_query_tokens = 0, prefix_hit_tokens = 0;
};
struct UtilizationSection {
  double busy_ratio = 0, running_mean = 0, waiting_mean = 0;  ///< mean ratio; sums of the others
  std::optional<double> kv_usage_mean_ratio, kv_usage_peak_ratio, prefix_cache_hit_ratio;
  std::int64_t preemptions = 0;
  std::optional<double> batch_mean;  ///< sequences per step
  std::vector<InstanceUtilization> instances;
};

/// Mean step of one phase, milliseconds. The terms sum to `step_time` as printed.
struct PhaseBreakdown {
  std::string phase;
  std::uint64_t steps = 0;
  double time_share = 0;  ///< of all step time
  double step_time_ms = 0;
  std::array<double, kTermCount> term_ms{};
  double cpu_gap_ms = 0;
};

struct CommunicationSection {
  std::vector<std::pair<std::string, double>> time_share_ratio;  ///< of step time, by term
  /// Dispatch and combine, over the run: bytes sent by all ranks inside and between nodes.
  std::optional<double> a2a_bytes_intra, a2a_bytes_inter;
};

/// One MoE layer over the run: means over its steps.
struct MoeLayerReport {
  int layer = 0;                       ///< of the model
  double tokens = 0, assignments = 0;  ///< of requests
  double padded_tokens = 0;            ///< beside those: padding and dummies of idle ranks
  double active_experts_mean = 0;      ///< on a rank
  double rank_imbalance_mean = 1, rank_imbalance_p99 = 1, expert_imbalance_mean = 1;
  double rank_imbalance_by_tokens = 1;        ///< its mean over steps weighted by their tokens
  double dropped_ratio = 0, moved_ratio = 0;  ///< of the assignments: full expert, next choice
  double tokens_with_none_ratio = 0;          ///< of the tokens: all assignments dropped
  double padding_ratio = 0;                   ///< rows computed for nobody, of the assignments
  double a2a_bytes_intra = 0, a2a_bytes_inter = 0;  ///< sent by all ranks
};
/// Who kept the others waiting: the rank that was slowest in most layers of steps, and the expert
/// that most explains it.
struct MoeStraggler {
  std::string instance;  ///< the first of those whose ranks are counted together; empty if all are
  int rank = 0, ranks = 1;    ///< of so many
  double share_ratio = 0;     ///< of the layers of steps; 1 / ranks would be nobody in particular
  int layer = 0, expert = 0;  ///< the most loaded expert it holds ...
  double expert_load_ratio = 1;  ///< ... and that load over the layer's mean
  [[nodiscard]] double over_fair() const { return share_ratio * ranks; }
};
struct MoeRebalance {
  std::string instance;  ///< empty if the run has one
  std::uint64_t step = 0;
  double copy_ms = 0, moved_bytes = 0, imbalance_before = 1, imbalance_after = 1;
  std::optional<double> imbalance_next = {};  ///< of the load that came after
};
/// What the CPU computes of the experts with tokens, and its time on the average rank, mean over
/// all steps, hidden states' way included and whether or not the GPU works longer.
struct CpuExperts {
  double ratio = 0, ms_per_step = 0;
};
/// Experts outside the GPU: what was there when it was needed, and what copying took.
struct MoeOffload {
  std::string tier, policy, prefetch;
  double resident_fraction = 1;
  double hit_ratio = 1;               ///< of the experts with tokens, by layer, rank and step
  std::optional<double> ahead_ratio;  ///< of the others: copied beside the layer before
  double bytes_copied = 0;            ///< all ranks, whole run
  double copy_ms_per_step = 0;        ///< link time of the average rank, hidden or not
  std::optional<CpuExperts> cpu;      ///< with compute cpu
};
/// What a run of drawn steps says of its own error: drawn over exactly counted, less one.
struct MoeSampledError {
  struct Value {
    double mean = 0, standard_error = 0;
  };
  std::uint64_t steps = 0;  ///< counted exactly beside their draws; at least two
  Value active_experts, rank_imbalance, expert_time;
};
struct MoeSection {
  std::string fidelity;   ///< exact, rank_exact, sampled or steps
  std::string routing;    ///< kind
  std::string placement;  ///< linear, eplb, ...; empty where experts are not placed but cut
  int ranks = 1, redundant_experts = 0;
  bool eplb_async = false, prefill_from_decode = false;
  bool dispatch_estimated = false;    ///< ranks a token reaches are a guess
  std::uint64_t sequence_epochs = 0;  ///< as in MoeStats
  std::optional<double> capacity_factor;
  /// Where experts choose: [n] share of tokens, over all layers, that n experts took; else empty.
  std::vector<double> experts_per_token_ratio;
  std::optional<MoeSampledError> sampled_error;
  std::vector<MoeLayerReport> layers;
  std::optional<MoeStraggler> straggler;
  std::vector<MoeRebalance> rebalances;
  std::optional<MoeOffload> offload;
  /// [layer][expert] assignments over the layer's mean; empty for routers without favourites.
  std::vector<std::vector<double>> expert_load_ratio;
  [[nodiscard]] double mean_rank_imbalance() const;
  /// The same of steps weighted by their tokens: a batch that fills up or empties weighs little.
  [[nodiscard]] double rank_imbalance_by_tokens() const;
  /// Of all slots, those without a place in their expert.
  [[nodiscard]] double dropped_ratio() const;
  /// Dispatch and combine, bytes sent per token and MoE layer: all of them, and those over the
  /// network. 0 where no token is sent to an expert.
  [[nodiscard]] double all_to_all_bytes() const;
  [[nodiscard]] double all_to_all_bytes_between_nodes() const;
};

struct CostSection {
  double usd_per_hour = 0;
  std::optional<double> usd_total, usd_per_million_output_tokens;
};

/// Interval of one headline number over replicas with other step times, and what drives its width.
struct HeadlineInterval {
  std::string headline;  ///< as in `summary`: "mean_ttft_ms", "output_throughput", ...
  double p10 = 0, p50 = 0, p90 = 0;
  struct Driver {
    std::string name;  ///< family of operators
    double share = 0;  ///< of the variance; they sum to 1
  };
  std::vector<Driver> drivers;  ///< largest first
};
struct UncertaintySection {
  int replicas = 0;
  std::string method;  ///< one phrase
  std::vector<HeadlineInterval> intervals;
};

struct SimulatorSection {
  double wall_time_ms = 0, cpu_time_ms = 0;
  std::uint64_t steps = 0, events = 0, plain_steps = 0;
  std::optional<double> events_per_s, plain_step_share;
};

struct NodeInfo {
  std::string profile, source;
  int count = 0, gpus_per_node = 0;
};
struct ModelInfo {
  std::string id, family;
  int layers = 0, moe_layers = 0, num_experts = 0, top_k = 0;
  std::int64_t total_params = 0, active_params = 0;
  Bytes kv_bytes_per_token;
  std::string weights, experts, kv_cache;  ///< number formats
  bool hypothetical = false;
};
struct InstanceSummary {
  std::string name;
  int tensor_parallel_size = 1, pipeline_parallel_size = 1, data_parallel_size = 1;
  std::vector<int> gpus;
  std::string backend{}, backend_version{};
};

/// Cumulative histogram as Prometheus has it; `counts[i]` values lie at or below `bounds[i]`.
struct BucketHistogram {
  std::vector<double> bounds;
  std::vector<std::int64_t> counts;
  std::int64_t count = 0;
  double sum = 0;
};
/// Counters of one engine for the Prometheus text (seconds); not part of report.json.
struct EngineCounters {
  std::int64_t prompt_tokens = 0, generation_tokens = 0, success = 0;
  BucketHistogram time_to_first_token, inter_token_latency, time_per_output_token;
  BucketHistogram e2e_latency, queue_time, prefill_time, decode_time;
};

struct RunResult {
  std::string tool_version, run_id, name;
  std::uint64_t seed = 0, digest = 0;
  std::string scenario_json;  ///< resolved, overrides applied
  std::vector<NodeInfo> nodes;
  int gpus_used = 0, gpus_total = 0;
  ModelInfo model;
  std::string backend, backend_version;
  std::vector<ResolvedOption> resolved;
  std::vector<InstanceSummary> instances;

  SummarySection summary;
  LatencySection latency;
  std::vector<InstanceThroughput> instance_throughput;
  std::optional<SloSection> slo;
  SaturationSection saturation;
  MemorySection memory;
  UtilizationSection utilization;
  std::optional<CommunicationSection> communication;
  std::optional<MoeSection> moe;          ///< absent for dense models
  std::vector<PhaseBreakdown> breakdown;  ///< phases that occurred
  std::optional<CostSection> cost;
  std::optional<UncertaintySection> uncertainty;
  std::vector<std::pair<std::string, double>> provenance;  ///< share of step time, by class
  std::vector<KernelOrigin> kernels;                       ///< curves behind the operators
  std::vector<std::string> warnings;
  SimulatorSection simulator;
  std::vector<std::string> reproduce;    ///< commands, and notes that start with "#"
  std::vector<EngineCounters> counters;  ///< by instance
};

/// Difference variant - base of one metric. The interval is of the paired difference; absent where
/// requests cannot be paired.
struct MetricDelta {
  std::string metric;
  double base = 0, variant = 0;
  double abs = 0;
  std::optional<double> rel;  ///< absent if the base is 0
  std::optional<double> p10, p90;
  std::optional<bool> significant;
  bool exact = false;  ///< does not depend on the requests: needs no interval
};
struct Change {
  std::string path;
  std::optional<std::string> from;  ///< absent if the key was not there
  std::string to;
};
struct VariantComparison {
  std::string name;
  std::vector<Change> changes;
  std::vector<MetricDelta> delta;
  std::string infeasible;  ///< why it could not run; empty if it did
};
struct Comparison {
  std::string baseline;
  std::vector<VariantComparison> variants;
};

}  // namespace moesim
