#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "scenarios/workload.h"

namespace moesim {

/// Our request CSV (with its blocks file) or Mooncake JSONL, .gz or plain; formats in shared data
/// README / glossary 6. Applies the window [start_s, end_s) and rate_scale. Requests without an id
/// among others that have one are called by their number, or the next that is free. Throws
/// InputError with file and line for every fault (the first 20, then a count).
[[nodiscard]] Workload read_request_trace(const TraceSpec& spec);

/// The same from text already read; `blocks_name` is empty if there is no blocks file.
struct TraceText {
  std::string trace, trace_name;
  std::string blocks, blocks_name;
};
[[nodiscard]] Workload parse_request_trace(const TraceText& text, const TraceSpec& spec);

/// Whether a text is meant as a blocks file: the first line says so.
[[nodiscard]] bool is_blocks_file(std::string_view text);
/// Reads a blocks file without its CSV; returns of how many requests it is. Throws InputError with
/// every fault.
[[nodiscard]] std::size_t check_blocks_file(std::string_view text, const std::string& name);

/// Writes our CSV (`request_id, arrival_s, prompt_tokens, output_tokens[, session_id][, priority]
/// [, domain][, slo_class]`) as text. Preconditions: every request has an arrival of its own (no
/// follow-ups, no closed loop).
[[nodiscard]] std::string write_request_csv(const Workload& workload);
/// Writes the blocks JSONL that goes beside it; empty when the workload has no chains, or none made
/// of blocks.
[[nodiscard]] std::string write_blocks_jsonl(const Workload& workload,
                                             const std::string& trace_name);

}  // namespace moesim
