#include "scenarios/routing_counts.h"

#include <cstddef>

#include "sim/base/check.h"

namespace moesim {
namespace {

/// Rows fetched ahead of the one being counted, and the bytes one request to memory brings.
/// performance.md 4, rule 8: 4 to 6 rows hide a fetch from memory behind the counting.
constexpr std::size_t kAhead = 4, kCacheLine = 64;

void prefetch(const std::byte* at, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += kCacheLine) __builtin_prefetch(at + i);
  __builtin_prefetch(at + bytes - 1);
}

/// Counts one row. `K` is the number of choices if it is known when compiling (the loop over a
/// layer is then unrolled), else 0.
template <int K, class Cell, class Count>
void count_row(const Cell* at, const RoutingShape& shape, Count* counts) {
  const int top_k = K > 0 ? K : shape.top_k;
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int rank = 0; rank < top_k; ++rank) ++counts[at[rank]];
    at += top_k;
    counts += shape.experts;
  }
}

template <int K, class Cell, class Count>
void count_list(const RoutingTable& table, std::span<const std::uint64_t> rows, Count* counts) {
  const std::size_t bytes = table.row_bytes();
  const std::byte* const cells = table.cells().data();
  const RoutingShape shape = table.shape();  // a copy: counts might alias it
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i + kAhead < rows.size()) prefetch(cells + rows[i + kAhead] * bytes, bytes);
    count_row<K>(reinterpret_cast<const Cell*>(cells + rows[i] * bytes), shape, counts);
  }
}

template <class Cell, class Count>
void count_by_width(const RoutingTable& table, std::span<const std::uint64_t> rows, Count* counts) {
  switch (table.shape().top_k) {
    case 2:
      return count_list<2, Cell>(table, rows, counts);
    case 4:
      return count_list<4, Cell>(table, rows, counts);
    case 6:
      return count_list<6, Cell>(table, rows, counts);
    case 8:
      return count_list<8, Cell>(table, rows, counts);
    default:
      return count_list<0, Cell>(table, rows, counts);
  }
}

template <class Count>
void count(const RoutingTable& table, std::span<const std::uint64_t> rows,
           std::span<Count> counts) {
  MOESIM_CHECK(counts.size() == static_cast<std::size_t>(table.shape().layers) *
                                    static_cast<std::size_t>(table.shape().experts),
               "a count for every layer and expert");
  if (table.cell_bytes() == 1) {
    count_by_width<std::uint8_t>(table, rows, counts.data());
  } else {
    count_by_width<std::uint16_t>(table, rows, counts.data());
  }
}

}  // namespace

void count_rows(const RoutingTable& table, std::span<const std::uint64_t> rows,
                std::span<std::uint16_t> counts) {
  count(table, rows, counts);
}

void count_rows(const RoutingTable& table, std::span<const std::uint64_t> rows,
                std::span<std::uint32_t> counts) {
  count(table, rows, counts);
}

void count_run(const RoutingTable& table, std::uint64_t first, std::uint64_t rows,
               std::span<std::uint32_t> counts) {
  constexpr std::uint64_t kAtOnce = 256;
  std::uint64_t list[kAtOnce];
  for (std::uint64_t done = 0; done < rows;) {
    std::size_t n = 0;
    for (; n < kAtOnce && done < rows; ++n) list[n] = first + done++;
    count(table, std::span<const std::uint64_t>(list, n), counts);
  }
}

}  // namespace moesim
