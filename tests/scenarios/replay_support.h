#pragma once

#include <cstdint>
#include <vector>

#include "scenarios/routing_table.h"

namespace moesim {

/// Sequences of given lengths with `prompt` prompt rows each, of domains 0, 1, 0, 1, ...
inline RoutingTable table_of(const std::vector<std::uint32_t>& rows, std::uint32_t prompt = 0) {
  std::uint64_t all = 0;
  for (const std::uint32_t n : rows) all += n;
  RoutingTable table({.layers = 1, .experts = 4, .top_k = 1}, all);
  std::uint64_t first = 0;
  std::uint16_t domain = 0;
  for (const std::uint32_t n : rows) {
    RoutedSequence sequence;
    sequence.first_row = first;
    sequence.rows = n;
    sequence.prompt_rows = prompt;
    sequence.domain = domain;
    table.sequences.push_back(sequence);
    first += n;
    domain = domain == 0 ? 1 : 0;
  }
  table.domains = {{0, "law", "text"}, {1, "python", "code"}};
  return table;
}

}  // namespace moesim
