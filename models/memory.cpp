#include "models/memory.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace moesim {

namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

// NCCL buffers: 342 MiB for 2 GPUs, 392 MiB for 4 or 8 (serving-semantics 2.7, AIC systems).
Bytes nccl_bytes(const Parallel& parallel) {
  if (parallel.gpus() == 1) return Bytes(0);
  return Bytes((parallel.gpus() == 2 ? 342 : 392) * kMiB);
}

// Growth with tensor parallelism that profiling sees: 0.6 GiB per GPU against 0.15 GiB on one (2.7,
// BLIS).
Bytes tensor_parallel_growth(const Parallel& parallel) {
  return Bytes(parallel.tp > 1 ? 461 * kMiB : 0);
}

// DeepEP low-latency buffer, V1 layout (2.7). `tokens` is the most a rank dispatches.
Bytes low_latency_buffer(std::int64_t hidden, std::int64_t experts, std::int64_t tokens) {
  const std::int64_t scales = hidden / 128;
  const std::int64_t dispatch = 16 + std::max(2 * hidden, hidden + 4 * scales);
  const std::int64_t combine = 4 * scales + 2 * hidden;
  const std::int64_t send = std::max(tokens * dispatch, experts * tokens * combine);
  const std::int64_t receive = experts * tokens * std::max(dispatch, combine);
  return Bytes(round_up(2 * send + 2 * receive + 2 * round_up(4 * experts, 128), 128));
}

Bytes all_to_all_buffers(const Shard& shard, const MemoryInputs& inputs) {
  const Parallel& parallel = shard.parallel;
  if (!parallel.expert_parallel || parallel.dp == 1) return Bytes(0);
  constexpr std::int64_t kDeepEpBuffer = 1024 * kMiB;  // VLLM_DEEPEP_BUFFER_SIZE_MB
  if (inputs.all2all_backend == "deepep_high_throughput") {
    return Bytes(parallel.moe_group() > inputs.gpus_per_node ? 2 * kDeepEpBuffer : kDeepEpBuffer);
  }
  if (inputs.all2all_backend != "deepep_low_latency") return Bytes(0);
  int experts = 0;
  for (const LayerSpec& layer : shard.model->layers) experts = std::max(experts, layer.num_experts);
  // The budget of a low-latency deployment is 256 tokens; larger ones are cut into chunks of 256
  // (1.2).
  constexpr int kChunk = 256;
  constexpr int kLargest = 1024;
  const int tokens =
      inputs.max_num_batched_tokens > kLargest ? kChunk : inputs.max_num_batched_tokens;
  return Bytes(kDeepEpBuffer) +
         low_latency_buffer(shard.model->hidden, experts + parallel.redundant_experts, tokens);
}

// Captured graphs: a shared pool with the activations of the largest captured batch, then a little
// for each graph; a size has one graph per layer and one around them. 2.7 logs 0.36 GiB for 16
// sizes and 2.5 GiB for 51 on a large MoE; 0.3 GiB and 0.2 MiB per graph lie between (uncertain).
Bytes graph_bytes(const Shard& shard, const MemoryInputs& inputs) {
  if (inputs.rules.enforce_eager) return Bytes(0);
  constexpr int kLargestCapture = 512;
  const int captured = std::min(kLargestCapture, inputs.max_num_batched_tokens);
  const double per_graph = 0.2 * static_cast<double>(kMiB);
  const double graphs = inputs.rules.graph_sizes * (shard.last_layer - shard.first_layer + 1.0);
  return Bytes(300 * kMiB + std::llround(graphs * per_graph)) +
         forward_workspace(shard, inputs, captured);
}

// Marlin stores MXFP4 experts with the intermediate size padded to 128 and the hidden size to 256.
Bytes mxfp4_padding(const Shard& shard) {
  const ModelSpec& model = *shard.model;
  if (model.precisions.experts != NumberFormat::kMxfp4) return Bytes(0);
  Bytes sum;
  for (int i = shard.first_layer; i < shard.last_layer; ++i) {
    const LayerSpec& layer = model.layers[static_cast<std::size_t>(i)];
    if (!layer.moe) continue;
    const std::int64_t width = shard.expert_slice(layer);
    const std::int64_t padded = round_up(width, 128) * round_up(model.hidden, 256);
    const std::int64_t extra = model.expert_matrices * (padded - width * model.hidden);
    sum += storage_bytes(shard.local_experts(layer) * extra,
                         bits_per_weight(model.precisions.experts));
  }
  return sum;
}

/// A stage's fixed memory and what is left for KV.
struct StagePlan {
  GpuMemory memory;
  KvLayout kv;
  Bytes nccl;       // part of memory.comm_buffer
  Bytes kv_budget;  // may be negative
};

Bytes kv_budget(const GpuMemory& memory, Bytes nccl, const MemoryRules& rules) {
  const Bytes grown = rules.non_torch_bytes + memory.comm_buffer - nccl;
  const Bytes weights = memory.weights.total();
  switch (rules.budget) {
    case KvBudgetRule::kVllm: {
      Bytes rest = memory.usable - weights - memory.activation_peak - grown;
      if (rules.graphs_in_budget) rest -= memory.cuda_graph;
      // Before 0.11 the snapshot was taken before NCCL, but after the CUDA context.
      if (!rules.context_outside_budget) rest -= nccl;
      return rest;
    }
    case KvBudgetRule::kSglang: {
      const Bytes free_after_weights =
          memory.capacity - rules.context_bytes - nccl - grown - weights;
      return free_after_weights - (memory.capacity - memory.usable);
    }
    case KvBudgetRule::kTrtllm: {
      const Bytes free =
          memory.capacity - rules.context_bytes - nccl - grown - weights - memory.activation_peak;
      return Bytes(static_cast<std::int64_t>(
          std::floor(static_cast<double>(free.value()) * rules.utilization)));
    }
  }
  return Bytes(0);
}

// Experts that lie elsewhere come off the routed ones, then off their copies, and their share off
// the padding of both.
void take_away(const OffloadBytes& offload, Bytes padding, GpuMemory& memory) {
  memory.offloaded = offload.away;
  const Bytes saved = offload.away - offload.staging;
  const Bytes all = memory.weights.routed_experts + memory.weights.redundant_experts;
  if (saved > Bytes(0))
    memory.weights.other -=
        Bytes(std::llround(static_cast<double>(padding.value()) * (saved / all)));
  const Bytes routed = std::min(saved, memory.weights.routed_experts);
  memory.weights.routed_experts -= routed;
  memory.weights.redundant_experts -= saved - routed;
}

StagePlan plan_stage(const Shard& shard, const MemoryInputs& inputs) {
  StagePlan stage;
  GpuMemory& memory = stage.memory;
  memory.rank = shard.stage * shard.parallel.tp;
  memory.capacity = inputs.device_total;
  memory.usable = Bytes(static_cast<std::int64_t>(
      std::ceil(static_cast<double>(inputs.device_total.value()) * inputs.rules.utilization)));
  memory.weights = weight_bytes(shard);
  memory.weights.lora = lora_bytes(shard, inputs.lora);
  const Bytes padding = inputs.rules.pad_mxfp4 ? mxfp4_padding(shard) : Bytes(0);
  memory.weights.other += padding;
  take_away(offload_bytes(shard, inputs.offload), padding, memory);
  memory.activation_peak = activation_peak(shard, inputs);
  memory.cuda_graph = graph_bytes(shard, inputs);
  stage.nccl = nccl_bytes(shard.parallel);
  memory.comm_buffer =
      stage.nccl + tensor_parallel_growth(shard.parallel) + all_to_all_buffers(shard, inputs);
  memory.framework = inputs.rules.context_bytes + inputs.rules.non_torch_bytes;
  stage.kv = kv_layout(shard, inputs.block_size, inputs.hybrid_manager);
  stage.kv_budget = kv_budget(memory, stage.nccl, inputs.rules);
  return stage;
}

std::int64_t blocks_of(const StagePlan& stage) {
  if (stage.kv_budget <= Bytes(0)) return 0;
  return stage.kv_budget.value() / stage.kv.bytes_per_block.value();
}

Bytes fixed_bytes(const GpuMemory& memory) {
  return memory.weights.total() + memory.activation_peak + memory.cuda_graph + memory.comm_buffer +
         memory.framework;
}

// Tokens of one long request: for a model of one group simply blocks x block size, as the engine
// logs.
std::int64_t long_request_tokens(const KvLayout& kv, std::int64_t blocks,
                                 int max_num_batched_tokens) {
  if (kv.groups.size() <= 1) return blocks * kv.block_size;
  std::int64_t low = 0;
  std::int64_t high = blocks;  // in blocks of tokens
  while (low < high) {
    const std::int64_t middle = (low + high + 1) / 2;
    if (kv.blocks_per_request(middle * kv.block_size, max_num_batched_tokens) <= blocks) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low * kv.block_size;
}

int model_length(const ModelSpec& model, const MemoryInputs& inputs) {
  return inputs.max_model_len > 0 ? inputs.max_model_len : model.max_position_embeddings;
}

void reject(MemoryPlan& plan, Bytes shortfall, std::string reason) {
  plan.feasible = false;
  plan.shortfall = shortfall;
  plan.reason = std::move(reason);
}

// The number of blocks was given: the reason why it cannot be right, or nothing.
void judge_override(MemoryPlan& plan, std::int64_t needed_blocks, int length) {
  const auto problem = [&plan](const std::string& what) {
    return fmt::format("num_gpu_blocks_override asks for {} KV blocks, but {}", plan.num_gpu_blocks,
                       what);
  };
  if (plan.num_gpu_blocks - 1 < needed_blocks) {
    return reject(plan, Bytes(0),
                  problem(fmt::format("one request of {} tokens needs {} and the engine keeps one "
                                      "back",
                                      length, needed_blocks)));
  }
  for (const GpuMemory& gpu : plan.gpus) {
    if (gpu.free >= Bytes(0)) continue;
    return reject(plan, Bytes(0) - gpu.free,
                  problem(fmt::format("these take {}, of which the {} of the GPU have {} left",
                                      to_gib_text(gpu.kv_cache), to_gib_text(gpu.capacity),
                                      to_gib_text(std::max(Bytes(0), gpu.kv_cache + gpu.free)))));
  }
  plan.feasible = true;
}

// Sets `feasible`, or the reason why not. The most binding stage is given.
void judge(MemoryPlan& plan, const StagePlan& stage, std::int64_t needed_blocks, int length,
           KvBudgetRule rule) {
  const GpuMemory& memory = stage.memory;
  // One more block: the engine keeps a null block back.
  const Bytes one_request((needed_blocks + 1) * plan.kv.bytes_per_block.value());
  const Bytes shortfall = one_request - stage.kv_budget;
  const std::string held =
      fmt::format("weights {}, activations {}", to_gib_text(memory.weights.total()),
                  to_gib_text(memory.activation_peak));
  if (plan.num_gpu_blocks == 0) {
    return reject(
        plan, shortfall,
        fmt::format("{} and overheads leave no room for KV in the {} usable of {} per GPU", held,
                    to_gib_text(memory.usable), to_gib_text(memory.capacity)));
  }
  if (plan.num_gpu_blocks - 1 < needed_blocks) {
    return reject(plan, shortfall,
                  fmt::format("one request of {} tokens needs {} of KV per GPU, but {} leave {}",
                              length, to_gib_text(one_request), held,
                              to_gib_text(std::max(Bytes(0), stage.kv_budget))));
  }
  for (const GpuMemory& gpu : plan.gpus) {
    if (gpu.free >= Bytes(0)) continue;
    return reject(
        plan, Bytes(0) - gpu.free,
        fmt::format(
            "KV, CUDA context, communication buffers and graphs together exceed the {} of the GPU "
            "by {}; {} is too high",
            to_gib_text(gpu.capacity), to_gib_text(Bytes(0) - gpu.free), utilization_key(rule)));
  }
  plan.feasible = true;
}

// What the GPUs do not hold must fit somewhere.
void judge_offload(MemoryPlan& plan, const MemoryInputs& inputs) {
  if (inputs.offload_room == Bytes(0)) return;
  for (const GpuMemory& gpu : plan.gpus) {
    if (gpu.offloaded <= inputs.offload_room) continue;
    return reject(plan, gpu.offloaded - inputs.offload_room,
                  fmt::format("{} of experts outside the GPU do not fit the {} of {} memory there "
                              "is for each GPU",
                              to_gib_text(gpu.offloaded), to_gib_text(inputs.offload_room),
                              to_text(inputs.offload.tier)));
  }
}

}  // namespace

const char* utilization_key(KvBudgetRule rule) {
  switch (rule) {
    case KvBudgetRule::kVllm:
      return "gpu_memory_utilization";
    case KvBudgetRule::kSglang:
      return "mem_fraction_static";
    case KvBudgetRule::kTrtllm:
      return "free_gpu_memory_fraction";
  }
  return "";
}

MemoryPlan plan_memory(const ModelSpec& model, const Parallel& parallel,
                       const MemoryInputs& inputs) {
  MemoryPlan plan;
  std::vector<StagePlan> stages;
  for (int i = 0; i < parallel.pp; ++i) {
    const ShardResult result = make_shard(model, parallel, i);
    if (!result.problem.empty()) {
      reject(plan, Bytes(0), result.problem);
      return plan;
    }
    stages.push_back(plan_stage(result.shard, inputs));
  }
  const auto binding =
      std::min_element(stages.begin(), stages.end(), [](const StagePlan& a, const StagePlan& b) {
        return blocks_of(a) != blocks_of(b) ? blocks_of(a) < blocks_of(b)
                                            : a.kv_budget < b.kv_budget;
      });
  plan.kv = binding->kv;
  plan.num_gpu_blocks = inputs.num_gpu_blocks_override.value_or(blocks_of(*binding));
  plan.num_kv_tokens =
      long_request_tokens(plan.kv, plan.num_gpu_blocks, inputs.max_num_batched_tokens);
  for (StagePlan& stage : stages) {
    stage.memory.kv_cache = Bytes(plan.num_gpu_blocks * stage.kv.bytes_per_block.value());
    stage.memory.free = stage.memory.capacity - fixed_bytes(stage.memory) - stage.memory.kv_cache;
    plan.gpus.push_back(stage.memory);
  }
  const int length = model_length(model, inputs);
  const std::int64_t needed = plan.kv.blocks_per_request(length, inputs.max_num_batched_tokens);
  if (needed > 0 && plan.num_gpu_blocks > 0) {
    plan.max_concurrency_at_max_model_len =
        static_cast<double>(plan.num_gpu_blocks - 1) / static_cast<double>(needed);
  }
  if (inputs.num_gpu_blocks_override) {
    judge_override(plan, needed, length);
  } else {
    judge(plan, *binding, needed, length, inputs.rules.budget);
  }
  if (plan.feasible) judge_offload(plan, inputs);
  return plan;
}

}  // namespace moesim
