#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hardware/dispatch.h"
#include "hardware/kernel_shape.h"

namespace moesim {

/// Measured time of one direction of a library between ranks that share tokens and experts evenly,
/// by tokens per rank. Tabulated, eight knots an octave: reading it is a few nanoseconds.
class DispatchCurve {
 public:
  /// What a rank moves per token of its own when experts are drawn uniformly, and the library's
  /// setting; `kernel` is "dispatch" or "combine", "internode_" before it where nodes > 1.
  struct Query {
    std::string op, kernel, dtype;
    KernelShape per_token;
    double nic_bandwidth = 0;  ///< bytes/s a GPU gets between nodes when all send
  };
  /// Nothing if no profile has it, or the nodes have no NVLink (none was measured there).
  [[nodiscard]] static std::optional<DispatchCurve> find(const DispatchSetup& setup,
                                                         const Query& query);
  [[nodiscard]] double seconds(double tokens) const;
  [[nodiscard]] const DispatchSource& source() const { return source_; }

 private:
  std::vector<double> knots_;
  DispatchSource source_;
};

/// Spread of a library's model or curves when they stand in for another's (assumed: that of kernels
/// of another GPU generation, kernel_library.cpp).
[[nodiscard]] DispatchSource stand_in(DispatchSource source);

/// Efficiency of the InfiniBand links DeepEP was measured over (links.yaml, ndr_400g): curves are
/// fitted with line rates, a topology has usable ones.
inline constexpr double kMeasuredNicEfficiency = 0.96;

}  // namespace moesim
