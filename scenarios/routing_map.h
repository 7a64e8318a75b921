#pragma once

#include <filesystem>
#include <string>

#include "scenarios/routing_trace.h"

namespace moesim {

/// A trace whose ids are of stored copies (EPLB slots), told in the model's experts: `map` is a
/// JSON file of logical experts, [layer][slot], as `placement: {file: PATH}` takes it and SGLang
/// dumps it. Choices of tokens stay where they are; loads of the copies of an expert add up. Throws
/// InputError if the trace, which `file` names in messages, is logical already, if the map is not
/// one of its layers and slots, or if two choices of a token turn out to be copies of one expert.
[[nodiscard]] RoutingTrace to_logical(RoutingTrace trace, const std::string& file,
                                      const std::filesystem::path& map);

}  // namespace moesim
