#pragma once

#include <optional>
#include <span>
#include <vector>

#include "hardware/dispatch.h"
#include "hardware/dispatch_curve.h"
#include "hardware/dispatch_loads.h"

namespace moesim {

/// Messages straight from the rank that holds a token to the rank that has the expert, and back.
class PairTraffic {
 public:
  explicit PairTraffic(const DispatchSetup& setup);

  struct Result {
    ProductLoads::Busy there, back;  ///< seconds per byte of a message
    double intra = 0, inter = 0;     ///< messages, by kind of link; those to oneself are none
  };
  /// `copies`: [rank] messages each rank gets, from all.
  [[nodiscard]] Result of(std::span<const double> held, std::span<const double> copies) const;
  /// The same when every rank holds one token and gets `copies` of messages.
  [[nodiscard]] Result even(double copies) const;

  [[nodiscard]] int ranks() const { return static_cast<int>(node_.size()); }
  [[nodiscard]] int nodes() const { return nodes_; }

 private:
  std::vector<int> node_;  // [rank], 0 ... nodes - 1
  int nodes_ = 0;
  ProductLoads there_, back_;
  bool alike_ = false;  // both ways
};

/// [rank] the node of the group each rank lies on, numbered as they come.
[[nodiscard]] std::vector<int> group_nodes(const DispatchSetup& setup);

/// Parts of a link's usable bandwidth that a library's large messages reach.
struct WireEfficiency {
  double inside = 1, between = 1;
};

/// A library of such messages in numbers. Time = start + the longest any link is busy.
struct PairModel {
  bool per_expert = true;   ///< a message per (token, expert), else per (token, rank)
  double header_bytes = 0;  ///< of a message, there; beside the payload
  double dispatch_start_us = 0, combine_start_us = 0;
  double us_per_token = 0;  ///< there, for each token of the rank that holds most
  WireEfficiency dispatch, combine;
  /// A rank's messages to itself take the same way through its memory as the others: the links seem
  /// n / (n - 1) times as busy.
  bool copies_to_itself = false;
  double spread = 0;       ///< of the above: DispatchSource
  bool stands_in = false;  ///< for another library
  /// Kernels that send and receive, together: start + payload over rate (DispatchBackend::kernels).
  struct Kernels {
    double start_us = 0, bytes_per_us = 0;  ///< 0: none hold the GPU
  };
  Kernels dispatch_kernels, combine_kernels;
  std::optional<DispatchCurve> dispatch_curve, combine_curve;  ///< measured, instead of the above
};
[[nodiscard]] std::unique_ptr<DispatchBackend> make_pair_dispatch(const DispatchSetup& setup,
                                                                  PairModel model);

/// DeepEP's low-latency kernels for a group, measured where a profile has them.
[[nodiscard]] PairModel deepep_low_latency_model(const DispatchSetup& setup);
/// The same for libraries that are taken for it (mori_low_latency, nixl_ep): a donor.
[[nodiscard]] std::unique_ptr<DispatchBackend> make_low_latency_stand_in(
    const DispatchSetup& setup);

}  // namespace moesim
