#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/base/random.h"
#include "sim/steptime/kernel_model.h"

namespace moesim {

/// Prices of the grouped GEMMs met last. Loads of a step's layers and ranks, and draws of a token
/// count, differ in little, so most have the shape of another one.
class ShapePrices {
 public:
  /// `entries`: a power of two. A shape has one place, where it replaces what was there.
  explicit ShapePrices(std::size_t entries) : entries_(entries) {}

  /// `layers`: the class of layers the operator is of, from which the fields that are not compared
  /// follow; its address is its name. `kernels`: always the same.
  const KernelTime& of(const KernelModel& kernels, const void* layers, const Op& op) {
    const Shape shape{op.tokens,   op.m,         op.active_experts,
                      op.above_64, op.above_256, op.padded_rows};
    std::uint64_t mixed = 0;
    for (const std::int64_t field : shape)
      mixed = (mixed ^ static_cast<std::uint64_t>(field)) * 0x9e3779b97f4a7c15ULL;
    Entry& entry = entries_[mix64(mixed) & (entries_.size() - 1)];
    if (entry.shape != shape || entry.layers != layers) entry = {shape, layers, kernels.time(op)};
    return entry.time;
  }

 private:
  using Shape = std::array<std::int64_t, 6>;
  struct Entry {
    Shape shape{};
    const void* layers = nullptr;  ///< null: none yet
    KernelTime time;
  };
  std::vector<Entry> entries_;
};

}  // namespace moesim
