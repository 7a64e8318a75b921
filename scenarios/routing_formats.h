#pragma once

#include <string>
#include <string_view>

#include "scenarios/routing_bytes.h"
#include "scenarios/routing_trace.h"

// Private: the three readers behind read_routing_trace.

namespace moesim {

[[nodiscard]] RoutingTrace read_mrt(const FileBytes& file);
[[nodiscard]] RoutingTable read_routing_jsonl(std::string_view text, const std::string& name);
[[nodiscard]] StepLoads read_routing_csv(std::string_view text, const std::string& name);

}  // namespace moesim
