#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "hardware/cluster.h"
#include "models/expert_offload.h"
#include "models/hf_config.h"
#include "models/placement.h"
#include "models/sharding.h"
#include "scenarios/engine_profile.h"
#include "scenarios/routers.h"
#include "sim/base/diagnostic.h"
#include "sim/base/reader.h"

namespace moesim {

/// A policy named in the scenario, resolved late by sim/build.cpp: `params` is the mapping it was
/// given ("{}" if only a name).
struct Policy {
  std::string name;
  std::string params;
  Where where;
};

/// A distribution of token counts or seconds.
struct Distribution {
  enum class Kind { kFixed, kUniform, kLognormal, kNormal, kEmpirical } kind = Kind::kFixed;
  double a = 0;                 ///< fixed value; uniform low; lognormal/normal mean
  double b = 0;                 ///< uniform high; lognormal p99; normal std
  double min = 0;               ///< normal only
  double max = 0;               ///< normal only
  std::vector<double> samples;  ///< empirical: values of the file, drawn uniformly
};

struct EngineSpec {
  EngineProfile profile;  ///< of backend and version, with the overrides below applied
  std::string backend = "vllm";
  std::string backend_version;  ///< resolved
  int max_model_len = 0;
  int max_num_seqs = 0;
  int max_num_batched_tokens = 0;
  int block_size = 16;
  double gpu_memory_utilization = 0.9;  ///< or mem_fraction_static, free_gpu_memory_fraction
  bool enable_prefix_caching = true;
  bool enable_chunked_prefill = true;
  int long_prefill_token_threshold = 0;
  bool enforce_eager = false;
  std::string cudagraph_mode;        ///< vLLM's name of it; "" for other engines and without graphs
  bool priority_scheduling = false;  ///< scheduling_policy: priority
  bool async_scheduling = true;
  std::string all2all_backend;
  std::string moe_backend = "auto";  ///< kernels of the routed experts; auto: the engine's choice
  bool fuse_shared_expert = false;   ///< computed with the routed ones
  bool enable_dbo = false;  ///< two half batches in turn (vLLM's DBO, SGLang's two-batch overlap)
  int dbo_decode_tokens = 32, dbo_prefill_tokens = 512;  ///< of a rank, from which it is used
  std::vector<int> cudagraph_capture_sizes;
  std::vector<int> prompt_capture_sizes;  ///< sglang: of prefill batches, where they have graphs
  bool max_num_seqs_by_memory = false;    ///< sglang: max_num_seqs comes from the KV tokens
  SglangOptions sglang;
  TrtllmOptions trtllm;
  std::optional<std::int64_t> num_gpu_blocks_override;
};

enum class Role { kMixed, kPrefill, kDecode };

struct InstanceSpec {
  Role role = Role::kMixed;
  int count = 1;
  Parallel parallel;
  std::optional<int> moe_tp, moe_ep;  ///< as given; `parallel` has what follows
  int node = -1;      ///< index into cluster nodes; the loader has replaced -1, "first that fits"
  EngineSpec engine;  ///< scenario engine with this entry's overrides
  Where where;
};

struct TraceSpec {
  std::filesystem::path path;
  std::optional<std::filesystem::path> blocks;  ///< nullopt: beside the CSV if present
  bool ignore_blocks = false;                   ///< blocks: none
  int block_tokens = 512;
  bool block_tokens_given = false;  ///< must then agree with the blocks file's header
  double start_s = 0;
  std::optional<double> end_s;
  double rate_scale = 1;
  std::optional<Diagnostic> without_priority;  ///< the mistake that a trace without them makes
};

struct ArrivalSpec {
  Policy policy;            ///< poisson, gamma, constant, closed_loop, all_at_once
  double request_rate = 0;  ///< per second; infinity = all at once
  double burstiness = 1;
  int max_concurrency = 0;  ///< 0 = no cap
};

struct SyntheticSpec {
  std::int64_t num_prompts = 0;
  Distribution input_tokens, output_tokens;
  int shared_prefix_tokens = 0;
  Distribution turns{Distribution::Kind::kFixed, 1, 0, 0, 0, {}};
  Distribution think_time_s;
};

struct WorkloadSpec {
  std::optional<TraceSpec> trace;
  ArrivalSpec arrival;
  SyntheticSpec synthetic;
  double warmup_s = 0;
  Where warmup_where;
  std::optional<double> duration_s;
  Where duration_where;
  bool finish_eos = false;  ///< finish: eos
};

/// How exactly the engine follows which token went where.
enum class RoutingFidelity : std::uint8_t { kAuto, kExact, kRankExact, kSampled };

/// The section `routing`: which experts tokens choose, and what happens to their choices.
struct RoutingSpec {
  /// The kind; `params` is the whole section, its paths absolute. Checked against the model.
  Policy policy{"uniform", "{}", {}};
  RoutingFidelity fidelity = RoutingFidelity::kAuto;
  bool expert_choice = false;             ///< router: experts choose tokens; has a capacity_factor
  std::optional<double> capacity_factor;  ///< nullopt: dropless
  Overflow overflow = Overflow::kDrop;
  CapacityScope capacity_scope = CapacityScope::kBatch;
  std::optional<std::uint64_t> seed;  ///< nullopt: the scenario's
  std::optional<Where> mix_schedule;  ///< set if domain_mix changes with the time of arrival
  std::optional<double> hot_from_s;   ///< hot_expert.from_s of the kind or a base, if above 0
};

struct SloSpec {
  std::optional<double> ttft_ms, tpot_ms, itl_ms, e2el_ms;
  double percentile = 99;
  [[nodiscard]] bool any() const { return of_requests() || itl_ms; }
  /// A target that a request meets or not; `itl_ms` is one for gaps between tokens.
  [[nodiscard]] bool of_requests() const { return ttft_ms || tpot_ms || e2el_ms; }
};

struct VariantSpec {
  std::string name;
  std::vector<std::pair<std::string, std::string>> set;  ///< path, YAML value
  std::vector<Where> set_where;                          ///< place of each of `set`
  Where where;
};

/// Where the value of a resolved option came from: "cli", "file", "config.json", "default".
struct ResolvedOption {
  std::string key, value, source;
};

/// Where a node group's kernel times come from (`system.nodes[].kernels`).
struct KernelSource {
  std::string name = "auto";   ///< as written: auto, roofline, vllm-0.24, or a file
  bool roofline = false;       ///< datasheet only
  std::filesystem::path file;  ///< of the profile named; empty for auto
};

/// A checked scenario: plain data, immutable once loaded.
struct Scenario {
  std::string name, description;
  std::uint64_t seed = 1;
  ModelSpec model;  ///< precision applied
  LoraSpec lora;
  ClusterSpec cluster;
  std::vector<KernelSource> kernels;  ///< per node group
  std::vector<InstanceSpec> instances;
  Policy request_router;
  WorkloadSpec workload;
  RoutingSpec routing;
  PlacementSpec placement;
  std::optional<ExpertOffload> offload;  ///< nullopt: no section; all experts are resident
  SloSpec slo;
  std::map<std::string, double> gpu_hour_usd;
  int uncertainty_replicas = 16;
  std::vector<VariantSpec> variants;
  std::vector<ResolvedOption> resolved;
  std::vector<std::string> warnings;
  std::string resolved_json;  ///< the document with overrides applied, for the report
  std::filesystem::path base_dir;
};

/// "--set PATH=VALUE" or an engine flag that is short for one.
struct Override {
  std::string path, value;
  std::string origin =
      "--set";  ///< what to name in a diagnostic: "--set", "--tensor-parallel-size", "variant 'x'"
};

}  // namespace moesim
