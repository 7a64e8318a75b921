#pragma once

#include <string>
#include <vector>

#include "sim/validation/scenario_keys.h"
#include "sim/validation/serving_rows.h"

namespace moesim {

/// The side of a split system whose GPUs a row counts.
enum class Side { kBoth, kPrefill, kDecode };

/// How a row's GPUs share the work, in our terms.
struct ServingLayout {
  std::string problem;    ///< why it cannot be said, in a sentence; else empty
  int tensor = 1;         ///< attention ranks of one data-parallel rank
  int pipeline = 1;       ///< stages
  int data = 1;           ///< data-parallel attention ranks inside one engine
  int engines = 1;        ///< independent replicas
  int expert_groups = 1;  ///< parts that whole experts are spread over; 1 = experts are cut
  bool ep_stated = false;
  Side side = Side::kBoth;
  std::vector<std::string> assumed;

  [[nodiscard]] int gpus() const { return tensor * pipeline * data * engines; }
  /// Whether its ranks send tokens to experts on several nodes, with the libraries made for that.
  [[nodiscard]] bool wide() const { return side != Side::kBoth && expert_groups > 1; }
};

/// Reads the layout columns. Two conventions: `tp` counts the GPUs of an engine even with
/// data-parallel attention (InferenceMAX, TensorRT-LLM's pages), or only those of one attention
/// replica; `n_gpus` tells which.
[[nodiscard]] ServingLayout layout_of(const ServingRow& row);

/// Sets `system`, `deployment` and what of `engine` follows from a layout. `backend` is "vllm",
/// "sglang" or "trtllm"; `system` a shipped one.
void set_layout(const ServingLayout& layout, const ServingRow& row, const std::string& backend,
                const std::string& system, ScenarioKeys& keys);

/// The group of an MoE row on several GPUs: "wide", "attention copied", "experts whole"
/// or "experts cut"; empty for others.
[[nodiscard]] std::string layout_group(const ServingLayout& layout, const ServingRow& row);

}  // namespace moesim
