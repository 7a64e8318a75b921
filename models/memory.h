#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/expert_offload.h"
#include "models/sharding.h"

namespace moesim {

/// Layers that share a block table: one entry of vLLM's hybrid KV manager (serving-semantics 2.5).
/// At most eight groups. A group of linear layers is a sliding one with a window of 1: of a state
/// only the block of the newest token is needed.
struct KvGroup {
  AttentionKind kind = AttentionKind::kFull;
  int window = 0;  ///< tokens; sliding and chunked only
  int layers = 0;  ///< real layers (padding layers not counted)
};

/// How KV memory is cut into blocks. A request takes block ids per group from one shared pool.
struct KvLayout {
  /// Tokens; more than asked for where a linear layer's state needs a larger page.
  int block_size = 16;
  std::vector<KvGroup> groups;  ///< empty for a model without KV
  int layers_per_group = 0;     ///< `gs`, padding included
  Bytes bytes_per_block;        ///< one block id: gs pages
  Bytes bytes_per_token;        ///< all groups at full context, this rank
  Bytes state_per_sequence;     ///< linear-attention state
  /// Most block ids a request of `tokens` tokens holds at once.
  [[nodiscard]] std::int64_t blocks_per_request(std::int64_t tokens,
                                                int max_num_batched_tokens) const;
};
[[nodiscard]] KvLayout kv_layout(const Shard& shard, int block_size, bool hybrid_manager);

/// How an engine turns a GPU's memory into KV room (serving-semantics 2.1).
enum class KvBudgetRule {
  kVllm,    ///< utilisation x total - weights - activations - non-torch growth - graphs
  kSglang,  ///< free after weights - total x (1 - fraction)
  kTrtllm,  ///< fraction x (free after weights and a dummy forward)
};

/// What the engine with this rule calls its share of the memory, as a key of `engine`.
[[nodiscard]] const char* utilization_key(KvBudgetRule rule);

/// Sizes the engine reserves that do not follow from the model; from the engine-version profile.
///
/// What the versions of serving-semantics 0.2 set (12+: V12 and V16; all else as the defaults
/// below):
///
///                            V09    V11    12+     V26   SGLang   TRT-LLM
/// budget                     kVllm  kVllm  kVllm   kVllm kSglang  kTrtllm
/// utilization                0.90   0.90   0.90    0.92  (8.1)    0.90
/// graphs_in_budget           no     no     no      yes   -        -
/// context_outside_budget     no     yes    yes     yes   -        -
/// worst_case_moe_workspace   no     no     yes     yes   yes      yes
/// fused_moe_chunk            32768  32768  16384*  0     0        0
/// graph_sizes                67     67     51      51    52       51
/// sampler_copies             9.5    9.5    9.5     9.5   3        3
/// context_bytes              0.5 GiB in all; non_torch_bytes 0.15 GiB in all
///
/// * 0 from release 0.17 on. Sources: 1.2, 1.8, 2.1, 2.6, 2.7; 2.7 gives 0.3-0.6 GiB for the
/// context and 0.15 GiB for non-torch memory on one GPU. sampler_copies: 2.6 writes 2 to 3, but the
/// logged start-ups with 1024 sampled rows, and the worked examples of 2.9, need 9 to 10
/// (memory_logs_test).
struct MemoryRules {
  KvBudgetRule budget = KvBudgetRule::kVllm;
  double utilization = 0.9;       ///< gpu_memory_utilization / mem_fraction_static / free fraction
  bool graphs_in_budget = false;  ///< CUDA graphs are subtracted before KV (vLLM 0.21 on)
  bool context_outside_budget = true;  ///< NCCL precedes the snapshot (vLLM 0.11 on)
  bool worst_case_moe_workspace = false;
  int fused_moe_chunk = 0;  ///< rows a fused MoE call handles at most; 0 = no chunking
  bool enforce_eager = false;
  int graph_sizes = 51;         ///< captured sizes
  double sampler_copies = 9.5;  ///< fp32 copies of the logits alive at once while sampling
  bool pad_mxfp4 = false;       ///< Marlin kernels (Hopper and older): experts padded to 128 x 256
  /// CUDA context and library handles per process.
  Bytes context_bytes = Bytes(512LL << 20);
  /// Growth during profiling that torch does not own, on one GPU.
  Bytes non_torch_bytes = Bytes(154LL << 20);
};

struct MemoryInputs {
  Bytes device_total;  ///< what the driver reports (H100-80: 79.2 GiB)
  MemoryRules rules;
  LoraSpec lora;
  int max_num_batched_tokens = 8192;
  int max_num_seqs = 256;
  int max_model_len = 0;
  int block_size = 16;
  bool hybrid_manager = true;
  /// MoE workspaces and communication buffers follow it.
  std::string all2all_backend = "allgather_reducescatter";
  int gpus_per_node = 8;  ///< DeepEP needs a second buffer across nodes
  std::optional<std::int64_t> num_gpu_blocks_override;
  ExpertOffload offload;  ///< experts outside the GPU
  /// What there is for them elsewhere, for each GPU; 0: the system does not say.
  Bytes offload_room;
};

/// One GPU's memory by part. The parts (not `usable` and `offloaded`) sum to `capacity` exactly.
struct GpuMemory {
  int rank = 0;
  Bytes capacity, usable;
  WeightBytes weights;
  Bytes kv_cache, activation_peak, cuda_graph, comm_buffer, framework, free;
  Bytes offloaded;  ///< experts of this GPU that lie elsewhere; the staging room is in `weights`
};

struct MemoryPlan {
  std::vector<GpuMemory> gpus;  ///< one per distinct stage (TP ranks of a stage are alike)
  KvLayout kv;                  ///< of the stage that limits
  std::int64_t num_gpu_blocks = 0;
  /// Tokens of one long request that fit (blocks x block size, hybrid-aware).
  std::int64_t num_kv_tokens = 0;
  double max_concurrency_at_max_model_len = 0;
  bool feasible = false;
  Bytes shortfall;     ///< per GPU, when infeasible; 0 if it is not memory that lacks
  std::string reason;  ///< which part does not fit, in a sentence
};

/// Lays `model` out over `parallel` and fills every GPU's memory. Activation peak:
/// serving-semantics 2.6; fixed overheads: 2.7. Infeasible if weights and activations leave no
/// room, if one request of max_model_len does not fit, or if the device total would be exceeded.
[[nodiscard]] MemoryPlan plan_memory(const ModelSpec& model, const Parallel& parallel,
                                     const MemoryInputs& inputs);

/// Peak of the profile forward on one rank, split for the report (serving-semantics 2.6).
[[nodiscard]] Bytes activation_peak(const Shard& shard, const MemoryInputs& inputs);

/// The largest layer's workspaces and the residual for a forward of `tokens` tokens: the part of
/// activation_peak without sampler, embedding and MLA context; also the pool of captured graphs.
[[nodiscard]] Bytes forward_workspace(const Shard& shard, const MemoryInputs& inputs, int tokens);

/// What would make an infeasible plan fit, cheapest change first: "tensor_parallel_size: 2",
/// "precision.weights: fp8", "engine.max_model_len: 16384", "engine.gpu_memory_utilization: 0.95" -
/// each verified by planning again.
struct Remedy {
  std::string change;  ///< scenario path and value
  std::string why;     ///< one sentence with the numbers
  Parallel parallel;   ///< with it: more GPUs than before may be more than there are
};
[[nodiscard]] std::vector<Remedy> find_remedies(const ModelSpec& model, const Parallel& parallel,
                                                const MemoryInputs& inputs);

}  // namespace moesim
