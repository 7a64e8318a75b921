#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "scenarios/trace_text.h"

// Private to the trace readers: what a trace file holds, before the window and the scale.

namespace moesim {

/// One request of a trace.
struct TraceRow {
  double arrival_s = 0;
  std::uint32_t prompt_tokens = 0;
  std::uint32_t output_tokens = 0;
  std::int32_t priority = 0;
  int line = 0;
  std::string_view id;
  std::string_view session;  ///< of its text, as the next two; empty: not told
  std::string_view domain;
  std::string_view slo_class;
  std::uint32_t blocks_begin = 0, blocks_end = 0;  ///< range of TraceRows::blocks
};

struct TraceRows {
  std::vector<TraceRow> rows;         ///< in arrival order
  std::vector<std::uint64_t> blocks;  ///< block ids of all rows, one after the other
  std::uint32_t block_tokens = 0;     ///< 0 = no identity
  bool has_priority = false;
  bool has_session = false;
  bool has_domain = false;
  bool has_slo_class = false;
};

/// Limits of a token count: more than any context we know of is a mistake.
inline constexpr std::uint64_t kMostTokens = 100'000'000;

/// Reads the rows of our CSV; views point into `text`.
[[nodiscard]] TraceRows read_csv_rows(std::string_view text, TraceMistakes& mistakes);
/// Adds the block ids of a blocks file to the rows of its CSV.
void read_block_lines(std::string_view text, TraceRows& rows, TraceMistakes& mistakes);
/// Reads the rows of a Mooncake JSONL; arrivals count from the first.
[[nodiscard]] TraceRows read_mooncake_rows(std::string_view text, std::uint32_t block_tokens,
                                           TraceMistakes& mistakes);

/// A number of tokens, at least 1; reports at `line` and `key`.
[[nodiscard]] std::uint32_t check_tokens(std::string_view text, int line, const char* key,
                                         TraceMistakes& mistakes);
/// The block ids of a row must cover its prompt exactly.
void check_block_count(const TraceRow& row, std::uint32_t block_tokens, int line,
                       TraceMistakes& mistakes);

}  // namespace moesim
