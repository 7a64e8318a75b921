#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace moesim {

/// An index into one kind of table; ids of different kinds do not mix.
template <class Tag>
struct Id {
  std::uint32_t value = 0;
  friend constexpr auto operator<=>(Id, Id) = default;
  [[nodiscard]] constexpr std::size_t index() const { return value; }
};

using RequestId = Id<struct RequestTag>;    ///< row of the workload, in arrival order
using InstanceId = Id<struct InstanceTag>;  ///< one serving engine
using RankId = Id<struct RankTag>;          ///< one GPU within an instance

}  // namespace moesim
