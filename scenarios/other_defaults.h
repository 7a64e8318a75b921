#pragma once

#include <vector>

#include "scenarios/engine_profile.h"
#include "sim/base/units.h"

// Defaults of SGLang and TensorRT-LLM that depend on card and layout: serving-semantics 8.1, 8.2.

namespace moesim {

/// SGLang's chunked_prefill_size by the memory of the card.
[[nodiscard]] int sglang_chunk(const EngineProfile& profile, Bytes card);
/// SGLang's cuda_graph_max_bs by the memory of the card and the tensor-parallel size, which counts
/// the GPUs of all data-parallel ranks.
[[nodiscard]] int sglang_largest_graph(const EngineProfile& profile, Bytes card, int tp);
/// Its capture sizes up to `largest`, cut at the most requests that may run.
[[nodiscard]] std::vector<int> sglang_graph_sizes(const EngineProfile& profile, int largest,
                                                  int max_running);
/// Its graph sizes for prompts, up to the chunk (2048 for MLA).
[[nodiscard]] std::vector<int> sglang_prompt_sizes(int chunk, bool mla);

struct StaticFractionInputs {
  Bytes card;
  int chunk = 8192;
  int largest_graph = 256;
  int tp = 1;  ///< GPUs of a stage, of all data-parallel ranks
  int pp = 1;
  int dp = 1;
  int prompt_graphs = 0;  ///< number of sizes
  bool mla = false;
};
/// SGLang's mem_fraction_static, rounded to three decimals as it does.
[[nodiscard]] double sglang_static_fraction(const EngineProfile& profile,
                                            const StaticFractionInputs& inputs);
/// SGLang's max_running_requests: half the tokens, and at most 512 of the longest, between 2048 and
/// 4096.
[[nodiscard]] int sglang_max_running(std::int64_t kv_tokens, int max_model_len);

/// TensorRT-LLM's max_num_tokens and max_batch_size (serving-semantics 8.2, (U)); its engines of
/// 0.9 have what they were built with, which a scenario must state.
constexpr BatchDefaults kTrtllmBatch{.max_num_batched_tokens = 8192, .max_num_seqs = 2048};
/// CudaGraphConfig.max_batch_size of llm_args.py when nobody sets it.
constexpr int kTrtllmLargestGraph = 128;
/// TensorRT-LLM's cuda_graph_config.batch_sizes up to `largest` (128 by default).
[[nodiscard]] std::vector<int> trtllm_graph_sizes(int largest, bool padded);

}  // namespace moesim
