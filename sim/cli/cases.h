#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "scenarios/scenario.h"
#include "scenarios/workload.h"
#include "sim/cli/commands.h"

namespace moesim {

/// The scenario of the command line with a variant's changes on top. Throws InputError.
[[nodiscard]] Scenario load_variant(const Arguments& args, const VariantSpec& variant);

/// What scenarios that belong together have recorded. Requests that several of them read alike are
/// read once.
class Recordings {
 public:
  Recordings() = default;
  /// Reads all requests, and the rows of routing traces that loading put off. Throws InputError
  /// with the mistakes of all, each once. The scenarios are no longer needed afterwards.
  explicit Recordings(const std::vector<const Scenario*>& scenarios);

  /// Requests of the scenario at that place; null if it draws them.
  [[nodiscard]] const Workload* requests(std::size_t scenario) const {
    return scenario < requests_.size() ? requests_[scenario] : nullptr;
  }

 private:
  std::deque<Workload> read_;
  std::vector<const Workload*> requests_;
};

}  // namespace moesim
