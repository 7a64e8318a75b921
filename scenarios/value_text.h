#pragma once

#include <concepts>
#include <fmt/ranges.h>
#include <string>
#include <vector>

#include "scenarios/engine_profile.h"

// How a resolved option is written down in a report.

namespace moesim {

inline std::string value_text(bool value) {
  return value ? "true" : "false";
}
inline std::string value_text(std::integral auto value) {
  return std::to_string(value);
}
inline std::string value_text(double value) {
  return fmt::format("{:g}", value);
}
inline std::string value_text(const std::string& value) {
  return value;
}
inline std::string value_text(const std::vector<int>& value) {
  return fmt::format("[{}]", fmt::join(value, ", "));
}
inline std::string value_text(const AttentionDpConfig& value) {
  return fmt::format("{{enable_balance: {}, timeout_iters: {}, batching_wait_iters: {}}}",
                     value.enable_balance, value.timeout_iters, value.batching_wait_iters);
}

}  // namespace moesim
