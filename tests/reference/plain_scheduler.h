#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/memory.h"
#include "scenarios/engine_profile.h"
#include "scenarios/workload.h"
#include "sim/engine/scheduler.h"
#include "sim/engine/time.h"
#include "sim/steptime/step_time.h"

/// The reference scheduler: serving-semantics 0.3, 1.3-1.7 and 1.9, walked request by request and
/// block by block. It shares plain data with the engine (Workload, Limits, HostCost, StepPricer)
/// and no code but the digest's mixing function. The engine (lazy counters, extents) must agree
/// with it call by call.
///
/// Decisions that the specification leaves open, taken alike by both sides:
/// a. Identity. A block belongs to the chain element that holds its last token (a straddling block
///    to the later one). Beyond the chain: to the last element where generated tokens carry it on
///    (`output_continues_chain`, and the element reaches the end of the prompt); else to an id of
///    the request's own, which it gets at its first preemption; else it has none.
/// b. A block completed while another one owns the same identity stays without one. If the owner is
///    evicted later, the content is gone.
/// c. Blocks of known tokens (prompt; after a preemption also what was generated) get their
///    identity when scheduled; the others when the request is released: full blocks of the tokens
///    computed, less one token under async scheduling - at a preemption only if the last token is
///    in flight.
/// d. Blocks that left a window are freed at the start of schedule(), before any allocation, for
///    all requests that may run in it: first, in running order, the requests that drop a block with
///    an identity (group by group, last block first), then all the others.
/// e. Pipeline parallelism: a request whose last token is in flight cannot decode, async or not.
///    A preempted request whose last token is in flight is not admitted before that token is out.
/// f. A request whose last token is in flight stays in the running list, holds its blocks and may
///    be a victim; if it was, it leaves the queue when the token arrives. With ends by eos under
///    async scheduling it runs one step more, whose token is thrown away, if max_model_len permits.
/// g. A schedule call that puts nothing into the step costs no time. If it preempted somebody and
///    no batch is in flight, the next call follows at once.
/// h. A group of linear-attention layers holds one block per request, however long; with such
///    layers there is no prefix caching (a hit would need their state).
/// i. hash_blocks of the host cost are the whole blocks in each chunk, when caching is on.
/// j. The gap before a step is the first stage's wait since it was free and the output that was
///    processed last had left the pipeline; none after a sleep.
namespace moesim::reference {

struct PlainConfig {
  Limits limits;
  int block_size = 16;
  std::int64_t usable_blocks = 0;
  std::vector<KvGroup> groups;
  bool prefix_caching = true;
  HostCost host;
  int queue_depth = 1;
  std::string scheduler = "vllm_v1";  ///< of the engine; the reference is vLLM's
  int max_calls = 100'000;            ///< of schedule(); the run stops there
};

/// One request's share of a step.
struct PlainPart {
  std::uint32_t request = 0;
  int tokens = 0;
  std::int64_t context = 0;  ///< tokens computed before
  bool decode = false;
  bool samples = false;  ///< an output token comes out of it
  friend bool operator==(const PlainPart&, const PlainPart&) = default;
};

struct PlainProgress {
  std::uint32_t request = 0;
  std::int64_t computed = 0;
  friend bool operator==(const PlainProgress&, const PlainProgress&) = default;
};

struct PlainAdmission {
  std::uint32_t request = 0;
  std::int64_t hit_blocks = 0;
  friend bool operator==(const PlainAdmission&, const PlainAdmission&) = default;
};

/// One call of schedule(), and if it put anything into a step, what became of that step.
struct PlainCall {
  SimTime scheduled = 0, launched = 0, gpu_start = 0, gpu_end = 0, gap = 0;
  SimTime out_done = kNever;
  std::vector<PlainPart> parts;  ///< in the order of scheduling
  int decodes = 0;
  std::vector<std::uint32_t> preempted;
  std::vector<PlainAdmission> admitted;
  std::vector<PlainProgress> running;  ///< after it, in list order
  std::vector<std::uint32_t> waiting;  ///< after it, head first
  std::int64_t free_blocks = 0, taken = 0, evicted = 0;
  std::array<std::int64_t, kMaxKvGroups> decode_context{};
  int tokens_out = 0;
  std::map<SimTime, std::int64_t> gaps;  ///< time since the request's previous token -> tokens
  [[nodiscard]] bool empty() const { return parts.empty(); }
};

struct PlainRequest {
  SimTime arrival = kNever, first_scheduled = kNever, first_token = kNever;
  SimTime second_token = kNever, finish = kNever;
  std::int64_t cached_tokens = 0;
  int preemptions = 0;
};

struct PlainResult {
  std::vector<PlainCall> calls;
  std::vector<PlainRequest> requests;
  std::uint64_t digest = 0;
  std::int64_t preemptions = 0, prefix_query_tokens = 0, prefix_hit_tokens = 0;
};

/// Runs `workload` (arrivals, lengths, chains, priorities) through one instance, until nothing is
/// left to do or `max_calls`. Outputs are cut at max_model_len. Preconditions: prompts shorter than
/// max_model_len.
[[nodiscard]] PlainResult run_plain(const PlainConfig& config, const Workload& workload,
                                    StepPricer& pricer);

}  // namespace moesim::reference
