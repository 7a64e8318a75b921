#pragma once

#include <filesystem>
#include <string>

#include "scenarios/workload.h"

namespace moesim {

/// Our request CSV (with its blocks file) or Mooncake JSONL, .gz or plain; formats in shared data
/// README / glossary 6. Applies the window [start_s, end_s) and rate_scale. Throws InputError with
/// file and line for every fault (the first 20, then a count).
[[nodiscard]] Workload read_request_trace(const TraceSpec& spec);

/// The same from text already read; `blocks_name` is empty if there is no blocks file.
struct TraceText {
  std::string trace, trace_name;
  std::string blocks, blocks_name;
};
[[nodiscard]] Workload parse_request_trace(const TraceText& text, const TraceSpec& spec);

/// Writes our CSV (`request_id, arrival_s, prompt_tokens, output_tokens[, session_id][, domain]
/// [, slo_class]`) as text. Preconditions: every request has an arrival of its own (no follow-ups,
/// no closed loop).
[[nodiscard]] std::string write_request_csv(const Workload& workload);
/// Writes the blocks JSONL that goes beside it; empty when the workload has no chains, or none made
/// of blocks.
[[nodiscard]] std::string write_blocks_jsonl(const Workload& workload,
                                             const std::string& trace_name);

}  // namespace moesim
