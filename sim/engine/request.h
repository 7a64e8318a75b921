#pragma once

#include <cstdint>
#include <vector>

#include "sim/engine/time.h"

namespace moesim {

enum class RequestStatus : std::uint8_t {
  kPending,  ///< not issued yet
  kWaiting,  ///< in an instance's queue (also after a preemption)
  kRunning,  ///< admitted
  kCompleted,
  kDropped,     ///< can never be served (prompt longer than max_model_len)
  kIncomplete,  ///< still queued or running when the run was cut off
};

/// What happened to every request, as columns by RequestId. Times are kNever until they happen.
struct RequestTable {
  std::vector<SimTime> arrival, first_scheduled, first_token, second_token, finish;
  std::vector<SimTime> last_token;  ///< set when a request's rhythm of one token a step is broken
  std::vector<std::uint32_t>
      output_tokens;  ///< tokens it will generate here: the workload's, cut by max_model_len
  std::vector<std::uint32_t> generated;  ///< tokens so far; at a cut-off those in flight count
  std::vector<std::uint32_t>
      cached_tokens;  ///< prompt tokens served from the prefix cache at first admission
  std::vector<std::uint16_t> preemptions;
  std::vector<std::uint16_t> instance;
  std::vector<std::uint16_t> dp_rank;  ///< data-parallel rank of the instance
  std::vector<RequestStatus> status;

  void resize(std::size_t n);
  [[nodiscard]] std::size_t size() const { return status.size(); }
};

}  // namespace moesim
