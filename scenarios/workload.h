#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/scenario.h"

namespace moesim {

/// A stretch of a prompt with an identity: two requests whose chains start with the same elements
/// share those tokens. `end` is the cumulative token count at which the stretch ends.
struct ChainElement {
  std::uint32_t id = 0;
  std::uint32_t end = 0;
};

inline constexpr std::uint32_t kNoRequest = std::numeric_limits<std::uint32_t>::max();
inline constexpr std::uint32_t kNoSession = std::numeric_limits<std::uint32_t>::max();
inline constexpr std::uint16_t kNoSloClass = std::numeric_limits<std::uint16_t>::max();
inline constexpr std::uint16_t kNoDomain = std::numeric_limits<std::uint16_t>::max();

/// All requests of a run, as columns. Rows are in order of first possible arrival; follow-up turns
/// and closed-loop requests have no arrival of their own (see `predecessor`, `max_concurrency`).
struct Workload {
  std::vector<std::int64_t>
      arrival_ns;  ///< since the start; follow-ups: think time after the predecessor's end
  std::vector<std::uint32_t> prompt_tokens;  ///< >= 1
  std::vector<std::uint32_t> output_tokens;  ///< >= 1
  std::vector<std::uint32_t>
      predecessor;  ///< empty, or per row: request whose end releases this one, or kNoRequest
  std::vector<std::uint32_t> session;      ///< empty, or per row: session index, or kNoSession
  std::vector<std::string> session_names;  ///< by index; empty: sessions are called by number
  std::vector<std::int32_t> priority;      ///< empty, or per row: smaller is more urgent
  std::vector<std::uint16_t>
      domain;  ///< empty, or per row: index into domain_names, or kNoDomain; routing looks at it
  std::vector<std::string> domain_names;
  std::vector<std::uint16_t>
      slo_class;  ///< empty, or per row: index into the names, or kNoSloClass
  std::vector<std::string> slo_class_names;
  std::vector<std::uint32_t> chain_begin;  ///< empty, or size()+1 offsets into `chain`
  std::vector<ChainElement> chain;
  std::uint32_t chain_ids = 0;          ///< ids are dense: 0 .. chain_ids-1
  bool output_continues_chain = false;  ///< generated tokens carry on the last element's identity,
                                        ///< if it reaches the end of the prompt (sessions)
  bool closed_loop = false;        ///< every request is issued by a free slot of `max_concurrency`
  int max_concurrency = 0;         ///< client semaphore; 0 = none
  double block_tokens = 0;         ///< of the trace, for the report; 0 = no identity
  std::vector<std::string> names;  ///< empty, or the trace's own request ids, each once
  std::string description;         ///< one line for the report
  [[nodiscard]] std::size_t size() const { return prompt_tokens.size(); }
};

/// What the session of request `row` is called; nothing if it is in none.
[[nodiscard]] std::optional<std::string> session_name(const Workload& workload, std::size_t row);

/// Draws or reads the requests of a scenario. Named random streams "arrivals", "input_tokens",
/// "output_tokens", "turns", "think_time": changing one never shifts another. Throws InputError for
/// a bad trace.
[[nodiscard]] Workload make_workload(const WorkloadSpec& spec, std::uint64_t seed);

/// Throws InputError if no request arrives between `warmup_s` and `duration_s`. `make_workload`
/// asks it; a spec that shares the requests of another has to be asked by itself.
void check_window(const WorkloadSpec& spec, const Workload& workload);

/// When each request arrives if serving takes no time: its own arrival; of a follow-up the one
/// before it and the think time. Nanoseconds; does not decrease, unless in a closed loop, where all
/// are 0.
[[nodiscard]] std::vector<std::int64_t> earliest_arrivals(const Workload& workload);

}  // namespace moesim
