#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "sim/report/result.h"

// Private to the text reports: what the one of a run and the one of its memory share.

namespace moesim {

/// A line "label   text".
void row(std::ostream& out, const char* label, const std::string& text);
/// "vllm 0.21, sglang 0.5.9": each engine once.
[[nodiscard]] std::vector<std::string> engine_names(const std::vector<InstanceSummary>& instances);
/// "2 x a100_sxm, one engine of TP2"; "8 x h100_sxm, 4 engines: TP2 + 2 x TP1 + TP1 PP2"; with the
/// engine of each kind where they differ.
[[nodiscard]] std::string layout_text(const std::vector<NodeInfo>& nodes,
                                      const std::vector<InstanceSummary>& instances);
/// The first few, and how many more there are.
void write_warnings(const std::vector<std::string>& warnings, std::ostream& out);
/// The rows of the report of a run that tell its memory.
void write_memory_rows(const MemorySection& memory, std::ostream& out);

}  // namespace moesim
