#pragma once

#include <string>

#include "models/hf_config.h"
#include "models/memory.h"
#include "models/sharding.h"

namespace moesim::test {

/// A config of `model_type` from the keys all types share and `extra` ("\"key\": value, ...").
inline ModelSpec small_model(const std::string& model_type, const std::string& extra) {
  return read_hf_config("{\"model_type\": \"" + model_type +
                            "\", \"torch_dtype\": \"bfloat16\", \"vocab_size\": 1024, "
                            "\"max_position_embeddings\": 65536, " +
                            extra + "}",
                        "config.json", "test/" + model_type);
}

inline ModelSpec shipped(const std::string& name) {
  return load_model(name, ".", {});
}

/// The only stage of a layout without pipeline parallelism. `model` must outlive it.
inline Shard shard_of(const ModelSpec& model, const Parallel& parallel = {}) {
  return make_shard(model, parallel, 0).shard;
}

inline Bytes gib(double value) {
  return Bytes(static_cast<std::int64_t>(value * 1073741824.0));
}

/// An 80 GB H100 as the driver reports it, with the scheduler limits of vLLM's small class.
inline MemoryInputs h100() {
  MemoryInputs inputs;
  inputs.device_total = gib(79.2);
  inputs.max_num_batched_tokens = 2048;
  inputs.max_num_seqs = 128;
  inputs.max_model_len = 4096;
  inputs.rules.worst_case_moe_workspace = true;
  inputs.rules.fused_moe_chunk = 16384;
  return inputs;
}

}  // namespace moesim::test
