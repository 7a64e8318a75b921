#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "scenarios/routing_table.h"
#include "scenarios/scenario.h"
#include "sim/base/reader.h"

// Private to the loader: one read_<section>() per section of scenario.md, then the rules that span
// keys.

namespace moesim {

/// What every part of the loader needs besides its Reader.
struct LoadContext {
  std::filesystem::path base_dir;    ///< of paths written in the file
  std::vector<std::string> origins;  ///< `Where::file` of values given on the command line
  Diagnostics& diagnostics;
  std::vector<ResolvedOption> resolved;
  std::vector<std::string> warnings;
  /// What a load reads more than once (every variant needs the model again); outlives the context.
  struct Cache {
    std::map<std::string, ModelSpec> models;
    std::map<std::string, SystemSpec> systems;
  };
  Cache& cache;

  [[nodiscard]] bool from_command_line(const Where& where) const;
  /// "cli" or "file".
  [[nodiscard]] const char* source(const Where& where) const;
  /// The folder a relative path in a value starts from.
  [[nodiscard]] std::filesystem::path folder(const Where& where) const;
  /// The file a key names, made absolute; reports a name without a file. "-" is standard input.
  [[nodiscard]] std::filesystem::path file(Reader& in, const std::string& key) const;
  /// Reports what went wrong in a file that `key` names; mistakes of the name itself get its full
  /// path.
  void report(const InputError& error, const Reader& in, const std::string& key) const;
  void resolve(const std::string& key, const std::string& value, const std::string& source) {
    resolved.push_back({key, value, source});
  }
};

/// A key that may be absent, with what a later rule needs to complain about it.
template <class T>
struct Given {
  std::optional<T> value;
  std::string key;  ///< full path
  Where where;
  explicit operator bool() const { return value.has_value(); }
};

/// What is said where an engine follows priorities and `requests` have none.
[[nodiscard]] Diagnostic no_priorities(const Given<std::string>& policy,
                                       const std::string& requests);

/// A mistake at a key read earlier.
template <class T>
void fail(LoadContext& context, const Given<T>& at, const std::string& problem,
          const std::string& hint) {
  context.diagnostics.add({at.where, at.key, problem, hint});
}

/// "'sweep' is not modelled yet" for each of the keys that is there (YAML null counts as absent).
void reject_not_modelled(Reader& in, const std::vector<std::string>& keys, const std::string& hint);

/// A key of `engine` as another backend than vLLM spells it.
struct OwnName {
  const char* backend;
  const char* name;
  const char* ours;      ///< vLLM's name for the same
  bool negated = false;  ///< a switch that turns it off
};
[[nodiscard]] std::span<const OwnName> own_names();
/// What `backend` calls vLLM's `key`.
[[nodiscard]] std::string own_name(const std::string& backend, const std::string& key);

/// The keys of `engine`, of the scenario or of one entry of deployment.instances.
struct EngineKeys {
  Given<std::string> backend, backend_version;
  Given<int> max_model_len, max_num_seqs, max_num_batched_tokens, block_size;
  Given<double> gpu_memory_utilization;
  Given<bool> enable_prefix_caching, enable_chunked_prefill, enforce_eager, async_scheduling;
  Given<bool> enable_expert_parallel, enable_dbo;
  Given<int> dbo_decode_token_threshold, dbo_prefill_token_threshold;
  Given<int> long_prefill_token_threshold;
  Given<std::string> scheduling_policy, all2all_backend, moe_backend;
  Given<std::vector<int>> cudagraph_capture_sizes;
  Given<std::string> cudagraph_mode;
  Given<std::int64_t> num_gpu_blocks_override;
  Given<std::int64_t> max_total_tokens;  ///< sglang; max_tokens of trtllm
  // sglang
  Given<int> max_prefill_tokens, cuda_graph_max_bs, scheduler_recv_interval;
  Given<std::string> schedule_policy;
  Given<double> schedule_conservativeness;
  Given<bool> enable_mixed_chunk, fuse_shared_experts;
  // trtllm
  Given<std::string> capacity_scheduler_policy;
  Given<bool> cuda_graph_padding;
  Given<double> batch_wait_max_tokens_ratio;
  Given<int> batch_wait_timeout_iters;
  Given<AttentionDpConfig> attention_dp_config;
  /// vLLM's spellings of `placement`; of the scenario's `engine` only.
  Given<PlacementSpec> placement;
  /// vLLM's spellings of `precision`; of the scenario's `engine` only.
  Given<std::string> dtype, quantization, kv_cache_dtype;
};
[[nodiscard]] EngineKeys read_engine(Reader in, LoadContext& context);
/// `entry` where it says something, else `engine`.
[[nodiscard]] EngineKeys merged(const EngineKeys& engine, const EngineKeys& entry);

/// Where experts lie and over how many ranks: data and expert parallelism of an entry, once its
/// engine is known.
void resolve_parallel(InstanceSpec& entry, std::size_t index, const EngineKeys& keys,
                      const Scenario& scenario, Reader& root, LoadContext& context);

struct EngineInputs {
  const EngineKeys& keys;
  const ModelSpec& model;
  const SystemSpec& system;
  const Parallel& parallel;
  std::string prefix;  ///< of keys in `resolved`: "engine" or "deployment.instances.1.engine"
};
/// Defaults of backend, version, card and model filled in; every value recorded with its source.
[[nodiscard]] EngineSpec resolve_engine(const EngineInputs& inputs, LoadContext& context);
/// Whether the shared expert runs with the routed ones (SGLang), once the engine is resolved.
void resolve_fusion(InstanceSpec& entry, const EngineInputs& inputs, LoadContext& context);

/// `model`, `precision`, `lora`; nothing if the model cannot be had.
[[nodiscard]] std::optional<ModelSpec> read_model(Reader& root, const EngineKeys& engine,
                                                  LoadContext& context);
[[nodiscard]] LoraSpec read_lora(Reader& root);

struct SystemSection {
  ClusterSpec cluster;
  std::vector<KernelSource> kernels;
  bool complete = false;  ///< every node's profile could be read
};
[[nodiscard]] SystemSection read_system(Reader in, LoadContext& context);

struct DeploymentSection {
  std::vector<InstanceSpec> instances;  ///< `engine` not resolved yet
  std::vector<EngineKeys> engines;      ///< per entry: its overrides
  Policy request_router;
};
[[nodiscard]] DeploymentSection read_deployment(Reader in, LoadContext& context);

[[nodiscard]] WorkloadSpec read_workload(Reader in, LoadContext& context);
/// A number, or one of {uniform:}, {lognormal:}, {normal:}, {empirical:}. `range` is of every
/// value.
[[nodiscard]] Distribution read_distribution(Reader& in, const std::string& key, Range range,
                                             LoadContext& context);

/// Replaces the names of files below `routing` by full paths: kinds are made again from the section
/// where nobody knows the scenario's folder. Places stay those of the names; a name without a file
/// is reported, and false returned.
[[nodiscard]] bool name_routing_files_absolutely(Document& document, LoadContext& context);
/// `routing`; its kind is checked against the model's shape unless that has no layers.
[[nodiscard]] RoutingSpec read_routing(Reader& root, const RoutingShape& shape,
                                       LoadContext& context);
/// `placement`, or what `engine` says of it in vLLM's words; both are a mistake.
[[nodiscard]] Given<PlacementSpec> read_placement(Reader& root, const EngineKeys& engine,
                                                  LoadContext& context);
/// enable_eplb, eplb_config, expert_placement_strategy of `engine`.
[[nodiscard]] Given<PlacementSpec> read_placement_flags(Reader& engine, LoadContext& context);
/// `offload`.
[[nodiscard]] Given<ExpertOffload> read_offload(Reader& root, LoadContext& context);
/// Whether the scenario has a use for its `offload`.
void check_offload(const Scenario& scenario, const Given<ExpertOffload>& offload,
                   LoadContext& context);
[[nodiscard]] SloSpec read_slo(Reader in);
[[nodiscard]] std::map<std::string, double> read_cost(Reader in);
[[nodiscard]] int read_uncertainty(Reader in);
[[nodiscard]] std::vector<VariantSpec> read_variants(Reader& root);
/// A name that can be a file name: letters, digits, - _ .
[[nodiscard]] std::string read_safe_name(Reader& in, const std::string& key);

/// The rules that span keys. `root` finds the places, `engines` are the keys of each instance entry
/// as given.
struct ValidateInputs {
  Scenario& scenario;
  Reader& root;
  const std::vector<EngineKeys>& engines;
  const Given<PlacementSpec>& placement;
  const Given<ExpertOffload>& offload;
  bool has_model = false;
  bool has_system = false;
};
void validate(const ValidateInputs& inputs, LoadContext& context);
/// Those of each engine by itself; model and system are known.
void check_engines(const ValidateInputs& inputs, LoadContext& context);
/// Those of experts, their placement and their routing; the model is known.
void check_experts(const ValidateInputs& inputs, LoadContext& context);
/// Number formats and kernels of the experts that an engine has on its card; model and system are
/// known.
void check_kernels(const ValidateInputs& inputs, LoadContext& context);
/// Whether the balancer's slots do not divide over an entry's ranks: it packs equally many on each.
[[nodiscard]] bool uneven_slots(const Scenario& scenario, const Parallel& parallel);

}  // namespace moesim
