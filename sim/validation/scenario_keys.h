#pragma once

#include <fmt/format.h>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scenarios/scenario.h"

namespace moesim {

/// Collects the keys that turn a measured configuration into a scenario, for `load_scenario_text`:
/// rows go through the same loader, checks and defaults as a user's file.
class ScenarioKeys {
 public:
  /// `origin` is what a diagnostic names: "row", "engine.json".
  explicit ScenarioKeys(std::string origin) : origin_(std::move(origin)) {}

  void set(const std::string& path, const std::string& value) {
    list_.push_back({path, value, origin_});
  }
  void set(const std::string& path, const char* value) { set(path, std::string(value)); }
  template <class T>
  void set(const std::string& path, T value) {
    set(path, fmt::format("{}", value));
  }
  template <class T>
  void set_if(const std::string& path, const std::optional<T>& value) {
    if (value) set(path, *value);
  }
  /// Whole nodes of a card for `gpus` GPUs; several of them on a 400 Gbit/s network.
  void set_system(const std::string& system, int gpus);

  [[nodiscard]] const std::vector<Override>& list() const { return list_; }

 private:
  std::string origin_;
  std::vector<Override> list_;
};

/// A loaded scenario, or why there is none, in one sentence.
struct ScenarioOrProblem {
  std::optional<Scenario> scenario;
  std::string problem;
};
/// One instance with one request, changed by `keys`. An engine that is not modelled is named before
/// the keys that only it knows.
[[nodiscard]] ScenarioOrProblem load_with(const ScenarioKeys& keys, const std::string& name);

/// "vllm 0.15"; releases older than every profile of ours are a group of their own
/// (serving-semantics 0.2, "vllm before 0.9"), as are those of unknown release ("vllm").
[[nodiscard]] std::string engine_group(const std::string& backend, const std::string& version);

}  // namespace moesim
