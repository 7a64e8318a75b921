#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scenarios/workload.h"
#include "sim/validation/scenario_keys.h"
#include "sim/validation/serving_layout.h"
#include "sim/validation/serving_rows.h"

namespace moesim {

/// A few prompts that repeat, each with a system prompt of its group in front.
struct RepeatedPrompts {
  int groups = 0;
  int prompts_per_group = 0;
  int system_tokens = 0;
};

/// The requests of a row.
struct ServingLoad {
  std::string problem;   ///< why they cannot be said, in a sentence; else empty
  bool offline = false;  ///< all at once: latencies are those of the queue, only rates count
  bool steady = false;   ///< a full batch from the start: filling it was not measured
  int requests = 0;
  int together = 0;  ///< requests in flight at most, where the row limits them; 0 = it does not
  std::optional<RepeatedPrompts> repeated;
  std::vector<std::string> assumed;
};

/// Whether lengths are drawn as InferenceMAX and InferenceX do: 80 to 100 % of nominal.
[[nodiscard]] bool draws_below_nominal(const ServingRow& row);

/// Reads lengths and load of a row and sets `workload`. Lengths: fixed, 80 to 100 % of nominal, or
/// a few repeated prompts; others are taken as fixed at their mean, which `assumed` says.
/// One side of a split system is kept full: prompts for some steps of every GPU, or outputs of a
/// batch around the stated KV length.
[[nodiscard]] ServingLoad set_load(const ServingRow& row, const ServingLayout& layout,
                                   ScenarioKeys& keys);

/// Gives the requests of `workload` their identities: they take the prompts in turn. A prompt is
/// its group's system prompt and a question of its own.
void repeat_prompts(Workload& workload, const RepeatedPrompts& prompts);

}  // namespace moesim
