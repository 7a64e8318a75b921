#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scenarios/workload.h"
#include "tests/reference/plain_scheduler.h"

namespace moesim::reference {

/// One request of a hand-worked situation.
struct Row {
  SimTime arrival = 0;
  std::uint32_t prompt = 1, output = 1;
  std::vector<ChainElement> chain = {};
  std::int32_t priority = 0;
};

/// A situation: an engine of one full-attention group with synchronous scheduling, no host cost and
/// steps of 1000 ns, unless changed.
struct Situation {
  std::string scheduler = "vllm_v1";
  Limits limits = {.max_num_seqs = 8,
                   .max_num_batched_tokens = 16,
                   .max_model_len = 64,
                   .long_prefill_token_threshold = 0,
                   .chunked_prefill = true,
                   .reserve_full_isl = false,
                   .priority = false,
                   .async = false,
                   .finish_eos = false,
                   .pipeline_stages = 1};
  int block_size = 4;
  std::int64_t blocks = 100;
  std::vector<KvGroup> groups = {{AttentionKind::kFull, 0, 1}};
  bool caching = false;
  bool continues = false;  ///< output_continues_chain
  bool times = false;      ///< lines begin with the time of the call, in ns
  std::vector<Row> requests = {};
};

[[nodiscard]] PlainConfig config_of(const Situation& situation);
[[nodiscard]] Workload workload_of(const Situation& situation);

/// What the engine does in a situation, one line per call of schedule that did anything:
///
///     ^2 1. 0:8 3:4/2! =17
///
/// request 2 was preempted, 1 decoded a token, 0 computed a chunk of 8 tokens, 3 was admitted with
/// a hit of 2 blocks and computed 4 tokens, the last of its prompt; 17 blocks are free.
[[nodiscard]] std::vector<std::string> step_table(const Situation& situation);

}  // namespace moesim::reference
