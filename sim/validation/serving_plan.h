#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sim/validation/predicted_run.h"
#include "sim/validation/serving_load.h"
#include "sim/validation/serving_rows.h"

namespace moesim {

/// A row in our terms, before anything is loaded.
struct ServingPlan {
  std::string problem;         ///< why it cannot be predicted, in a sentence; else empty
  std::string system, engine;  ///< of groups: "h100_sxm", "vllm 0.15"
  std::string model;           ///< shipped id
  std::string layout;          ///< of groups: "experts cut", see serving_layout.h; may be empty
  std::vector<std::string> assumed;
  bool length_is_free = false;  ///< max_model_len is not stated
  ScenarioKeys keys{"row"};
  /// Where the plan does not fit: the same with these.
  std::optional<ScenarioKeys> smaller;
  std::string weight_dtype, kv_dtype;
  /// KV takes fp8 where the checkpoint is NVIDIA's own quantised one, as TensorRT-LLM does.
  bool kv_of_checkpoint = false;
  ServingLoad load;

  /// Plans of the same key are the same simulation.
  [[nodiscard]] std::string key() const;
};

/// What became of a plan.
struct ServingOutcome {
  PredictedRun run;
  PredictedRun slow;  ///< the same with every family of operators one standard deviation slower
  std::vector<std::string> assumed;  ///< found while loading
};
[[nodiscard]] ServingOutcome carry_out(const ServingPlan& plan);

/// Turns rows into plans, by the values of their columns. Looks every name up once.
class ServingTranslator {
 public:
  [[nodiscard]] ServingPlan plan(const ServingRow& row);

 private:
  struct Card {
    std::optional<std::string> system;
    bool assumed = false;  ///< the name leaves the form factor open
  };
  const std::optional<std::string>& model(const std::string& published);
  const Card& card(const std::string& published);

  std::map<std::string, std::optional<std::string>> models_;
  std::map<std::string, Card> cards_;
};

}  // namespace moesim
