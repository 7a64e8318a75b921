#pragma once

#include <cstdint>
#include <span>

#include "scenarios/routing_table.h"

namespace moesim {

/// Adds the tokens of each expert, [layer][expert], of some rows of a table to `counts` (size
/// layers * experts): the load of a step. 128 tokens of 58 layers, top-8 take 25-60 us, nearly all
/// of it memory traffic (performance.md 3); nothing is allocated.
///
/// Preconditions: the rows are in the table and, if it is a mapped file, were checked
/// (RoutingTable::check_rows); counts do not overflow, which 65,535 rows in all cannot make them.
void count_rows(const RoutingTable& table, std::span<const std::uint64_t> rows,
                std::span<std::uint16_t> counts);
/// The same with room for any number of rows.
void count_rows(const RoutingTable& table, std::span<const std::uint64_t> rows,
                std::span<std::uint32_t> counts);
/// The same for `rows` consecutive rows from `first`.
void count_run(const RoutingTable& table, std::uint64_t first, std::uint64_t rows,
               std::span<std::uint32_t> counts);

}  // namespace moesim
