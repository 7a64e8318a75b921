#pragma once

#include <algorithm>
#include <string>

#include "sim/validation/serving_plan.h"

namespace moesim {

/// Eight users of Mixtral on two cards, launched by nobody's script: a row to change.
inline ServingRow closed_loop_row() {
  ServingRow row;
  row.id = "a";
  row.source = "made_up";
  row.gpu = "H100-SXM-80GB";
  row.model = "Mixtral-8x7B";
  row.engine = "vLLM";
  row.version = "0.15.1";
  row.weight_dtype = "bf16";
  row.moe = true;
  row.gpus = row.tp = 2;
  row.pp = row.dp = row.ep = 1;
  row.isl = 1000;
  row.osl = 200;
  row.len_dist = "fixed";
  row.load_mode = "closed-loop";
  row.concurrency = 8;
  row.measured = {{"output_tok_s", 1}};
  return row;
}

/// The same with an engine and a checkpoint on eight cards, launched by InferenceMAX's scripts.
inline ServingRow scripted_row(const std::string& engine, const std::string& version,
                               const std::string& model, const std::string& gpu,
                               const std::string& weight_dtype) {
  ServingRow row = closed_loop_row();
  row.len_dist = "random tokens, each length uniform in 80-100% of nominal";
  row.engine = engine;
  row.version = version;
  row.model = model;
  row.gpu = gpu;
  row.weight_dtype = weight_dtype;
  row.gpus = row.tp = 8;
  return row;
}

inline ServingPlan plan_of(const ServingRow& row) {
  return ServingTranslator().plan(row);
}

/// The last value a key was set to; "" if it was not.
inline std::string value_of(const ServingPlan& plan, const std::string& path) {
  std::string value;
  for (const Override& key : plan.keys.list()) {
    if (key.path == path) value = key.value;
  }
  return value;
}

inline bool assumes(const ServingPlan& plan, const std::string& words) {
  return std::ranges::find(plan.assumed, words) != plan.assumed.end();
}

}  // namespace moesim
