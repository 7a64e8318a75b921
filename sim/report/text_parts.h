#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "sim/report/result.h"

// Private to the text reports: what the one of a run and the one of its memory share.

namespace moesim {

/// A line "label   text".
void row(std::ostream& out, const char* label, const std::string& text);
/// "2 x a100_sxm, one engine of TP2"
[[nodiscard]] std::string layout_text(const std::vector<NodeInfo>& nodes,
                                      const std::vector<InstanceSummary>& instances);
/// The first few, and how many more there are.
void write_warnings(const std::vector<std::string>& warnings, std::ostream& out);
/// The rows of the report of a run that tell its memory.
void write_memory_rows(const MemorySection& memory, std::ostream& out);

}  // namespace moesim
