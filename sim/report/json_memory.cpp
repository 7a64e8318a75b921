#include "sim/report/json_memory.h"

#include <nlohmann/json.hpp>

#include "sim/report/json_moe.h"

namespace moesim {
namespace {

using Json = nlohmann::ordered_json;

Json json_bytes(Bytes bytes) {
  return bytes.value();
}

Json gpu_json(const GpuMemory& gpu) {
  const WeightBytes& w = gpu.weights;
  const Json weights = {{"attention", json_bytes(w.attention)},
                        {"dense_ffn", json_bytes(w.dense_ffn)},
                        {"routed_experts", json_bytes(w.routed_experts)},
                        {"redundant_experts", json_bytes(w.redundant_experts)},
                        {"shared_experts", json_bytes(w.shared_experts)},
                        {"router", json_bytes(w.router)},
                        {"embedding", json_bytes(w.embedding)},
                        {"lm_head", json_bytes(w.lm_head)},
                        {"lora", json_bytes(w.lora)},
                        {"other", json_bytes(w.other)}};
  return {{"capacity_bytes", json_bytes(gpu.capacity)},
          {"usable_bytes", json_bytes(gpu.usable)},
          {"weights", weights},
          {"kv_cache_bytes", json_bytes(gpu.kv_cache)},
          {"activation_peak_bytes", json_bytes(gpu.activation_peak)},
          {"cuda_graph_bytes", json_bytes(gpu.cuda_graph)},
          {"comm_buffer_bytes", json_bytes(gpu.comm_buffer)},
          {"framework_bytes", json_bytes(gpu.framework)},
          {"free_bytes", json_bytes(gpu.free)}};
}

/// Experts of this GPU that lie elsewhere: no part of it.
void add_offloaded(const GpuMemory& gpu, Json& out) {
  if (gpu.offloaded > Bytes(0)) out["offloaded_bytes"] = json_bytes(gpu.offloaded);
}

Json kv_json(const KvRoom& kv) {
  return {{"num_gpu_blocks", kv.num_gpu_blocks},
          {"block_size", kv.block_size},
          {"num_kv_tokens", kv.num_kv_tokens},
          {"bytes_per_token", json_bytes(kv.bytes_per_token)},
          {"max_concurrency_at_max_model_len", json_value(kv.max_concurrency_at_max_model_len)}};
}

}  // namespace

Json memory_json(const MemorySection& memory) {
  Json out;
  out["per_gpu"] = gpu_json(memory.per_gpu);
  add_offloaded(memory.per_gpu, out);
  out["kv"] = kv_json(memory);
  for (const InstanceMemory& kind : memory.instances) {
    Json one = {{"instance", kind.instance}, {"per_gpu", gpu_json(kind.per_gpu)}};
    add_offloaded(kind.per_gpu, one);
    one["kv"] = kv_json(kind.kv);
    out["instances"].push_back(one);
  }
  for (const GpuMemoryEntry& entry : memory.gpus) {
    Json gpu = {{"instance", entry.instance}, {"rank", entry.memory.rank}};
    add_offloaded(entry.memory, gpu);
    gpu.update(gpu_json(entry.memory));
    out["gpus"].push_back(gpu);
  }
  return out;
}

}  // namespace moesim
