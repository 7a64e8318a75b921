#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/base/stats.h"

namespace moesim {

/// A recorded run of a real engine: a folder with `engine.json`, `requests.csv` and `measured.csv`,
/// and, if another simulator predicted it, `peer_summary.txt`.
struct RecordedRun {
  std::string name;     ///< of the folder
  std::string problem;  ///< why there is no scenario, in a sentence; else empty
  std::string system;   ///< "rtx_4090"; empty if not ours
  std::string engine;   ///< "vllm 0.19"
  bool moe = false;
  std::vector<std::string> assumed;  ///< engine arguments left out, in words
  std::optional<Scenario> scenario;  ///< its workload is the recorded one
  bool length_is_free = true;        ///< max_model_len was left to the model
  std::optional<double> kv_blocks;   ///< as the engine allocated them
  Summary ttft_ms, tpot_ms, e2e_ms;  ///< measured, over requests
  std::size_t requests = 0;
  std::optional<std::int64_t> stated_requests;  ///< as engine.json says

  /// One line of the peer's summary: ("ttft_mean", its error as a fraction).
  struct PeerError {
    std::string metric;
    double error = 0;
  };
  std::vector<PeerError> peer;
};

/// Throws InputError for a missing or malformed file, and for files of different runs: numbers of
/// requests that differ, requests measured that were not sent.
[[nodiscard]] RecordedRun read_recorded_run(const std::filesystem::path& folder);

}  // namespace moesim
