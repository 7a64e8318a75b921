#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/memory.h"
#include "sim/base/units.h"

namespace moesim {

/// Host-side cost of a step (serving-semantics 4.5), microseconds:
///   schedule = s0 + s1*running + s2*admitted + s3*hashed blocks; prepare = p0 + p1*sequences;
///   output = o0 + o1*sequences.
struct HostCost {
  double s0_us = 50, s1_us = 1.5, s2_us = 20, s3_us = 1;
  double p0_us = 250, p1_us = 1;
  double o0_us = 100, o1_us = 3;

  [[nodiscard]] HostCost scaled(double factor) const {
    return {s0_us * factor, s1_us * factor, s2_us * factor, s3_us * factor,
            p0_us * factor, p1_us * factor, o0_us * factor, o1_us * factor};
  }
};

/// CPU launch cost of one forward pass: serving-semantics 4.5 "Launch cost".
struct LaunchCost {
  double full_us = 15;             ///< replay of a full graph
  double per_node_us = 1;          ///< device side, per kernel in a graph
  double piece_us = 10;            ///< one piecewise graph launch, L+1 of them
  double piece_attention_us = 55;  ///< eager attention between pieces, per layer
  double eager_layer_us = 100;     ///< compiled, no graph: CPU per layer
};

/// Defaults and behaviour of one engine release (serving-semantics 0.2, 1.2). The scheduler
/// branches on these fields, never on a version.
struct EngineProfile {
  std::string backend;           ///< "vllm" or "static_batch"
  std::string version;           ///< "0.19"
  bool async_scheduling = true;  ///< queue depth 2
  bool reserve_full_isl = true;
  bool full_graphs = true;    ///< FULL_AND_PIECEWISE, else piecewise only
  int graph_sizes_rule = 51;  ///< 51 (V12 on) or 67 (V09, V11) sizes for max 512
  double gpu_memory_utilization = 0.92;
  std::string all2all_backend = "allgather_reducescatter";
  MemoryRules memory;
  HostCost host;
  LaunchCost launch;
};

/// Whether a text has the form of a release: "0.19", "0.15.1", "v0.12".
[[nodiscard]] bool is_version(const std::string& text);

/// The profile of a release ("" = the newest); one newer than all known takes the newest, one older
/// the oldest, and `note` says so. Preconditions: a known backend; for vllm, is_version(version) or
/// "".
struct ProfileChoice {
  EngineProfile profile;
  std::string note;
};
[[nodiscard]] ProfileChoice engine_profile(const std::string& backend, const std::string& version);
[[nodiscard]] std::vector<std::string> known_backends();
/// Releases with a profile of their own, oldest first.
[[nodiscard]] std::vector<std::string> known_versions(const std::string& backend);

/// vLLM's default CUDA-graph capture sizes (serving-semantics 1.8), ascending.
[[nodiscard]] std::vector<int> default_capture_sizes(int rule, int max_num_seqs,
                                                     int max_num_batched_tokens);

/// Defaults that depend on the card (serving-semantics 1.2): 8192/1024 for >= 70 GiB and not A100,
/// else 2048/256.
struct BatchDefaults {
  int max_num_batched_tokens = 2048;
  int max_num_seqs = 256;
};
[[nodiscard]] BatchDefaults batch_defaults(const std::string& system_name, Bytes device_total);

}  // namespace moesim
