#include "scenarios/routing_table.h"

#include <utility>

#include "sim/base/check.h"

namespace moesim {

RoutingTable::RoutingTable(const RoutingShape& shape, std::uint64_t rows)
    : shape_(shape), rows_(rows) {
  auto storage =
      std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(rows) * row_bytes());
  owned_ = storage->data();
  cells_ = owned_;
  keeper_ = std::move(storage);
}

RoutingTable::RoutingTable(const RoutingShape& shape, std::uint64_t rows, const std::byte* cells,
                           std::shared_ptr<const void> keeper)
    : shape_(shape), rows_(rows), cells_(cells), keeper_(std::move(keeper)) {}

int RoutingTable::expert(std::uint64_t row, int layer, int rank) const {
  const auto at = static_cast<std::size_t>(layer) * static_cast<std::size_t>(shape_.top_k) +
                  static_cast<std::size_t>(rank);
  return cell_bytes() == 1 ? row8(row)[at] : row16(row)[at];
}

void RoutingTable::set(std::uint64_t row, int layer, int rank, int expert) {
  MOESIM_CHECK(owned_ != nullptr, "only an owned table is written");
  const auto at = static_cast<std::size_t>(layer) * static_cast<std::size_t>(shape_.top_k) +
                  static_cast<std::size_t>(rank);
  std::byte* const first = owned_ + row * row_bytes();
  if (cell_bytes() == 1) {
    first[at] = static_cast<std::byte>(expert);
  } else {
    reinterpret_cast<std::uint16_t*>(first)[at] = static_cast<std::uint16_t>(expert);
  }
}

std::span<std::byte> RoutingTable::writable_cells() {
  MOESIM_CHECK(owned_ != nullptr, "only an owned table is written");
  return {owned_, static_cast<std::size_t>(rows_) * row_bytes()};
}

}  // namespace moesim
