#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hardware/collective.h"
#include "hardware/kernel_library.h"

namespace moesim {

/// The ranks that share a layer's experts, and what moves between them.
struct DispatchSetup {
  const Topology* topology = nullptr;        ///< outlives the backend
  const Collectives* collectives = nullptr;  ///< likewise
  std::vector<int> gpus;  ///< cluster numbers, in rank order: DP outermost, TP fastest
  int tp = 1;             ///< ranks that hold the same tokens
  int hidden = 0;
  int top_k = 0;
  int experts = 0;                  ///< physical, of one layer
  double dispatch_token_bytes = 0;  ///< payload of one token on its way there, scales included
  double combine_token_bytes = 0;   ///< on its way back
  int node_limit = 0;               ///< a token's experts lie on at most so many nodes, 0: no rule
  KernelChoice kernels{};           ///< whose measured curves apply
  /// TP ranks split their tokens before the dispatch (serving-semantics 3.4; every engine does so
  /// with EP on). Off: data parallelism without EP; all-gather and broadcasts then join the ranks
  /// of one TP index.
  bool sequence_parallel = true;
  /// Line rates and SMs of the group's system, which curves are evaluated with. Without a link
  /// bandwidth, those of the shipped system that `kernels` names; if there is none, no curves.
  DeviceCeilings device{};
};

/// What one MoE layer moves. All counts are of tokens or of (token, expert) pairs, never of bytes;
/// they may be fractional (expectations). Who sends to whom is taken as a product: rank i sends
/// held_i / sum(held) of what rank j gets.
struct DispatchTraffic {
  /// [rank] tokens the rank holds before the dispatch. With tp > 1 outside sequence-parallel mode
  /// the ranks of a TP group hold the same tokens and count them all.
  std::span<const double> held;
  std::span<const double> rank_copies;  ///< [rank] distinct tokens that have an expert on the rank
  std::span<const double> slots;        ///< [rank] (token, expert) pairs on the rank
  std::span<const double>
      node_copies;  ///< [node of the group] distinct tokens with an expert there
};

struct DispatchCost {
  double dispatch_ns = 0, combine_ns = 0;
  double dispatch_bytes_intra = 0,
         dispatch_bytes_inter = 0;  ///< sent by all ranks, by kind of link
  double combine_bytes_intra = 0, combine_bytes_inter = 0;
  int busiest_rank = 0;   ///< whose link bounds the dispatch
  bool measured = false;  ///< from a measured curve, else from the links
};

/// Where a backend's times are from, for the report and its intervals.
struct DispatchSource {
  /// Whose curves, "h100_sxm/vllm-0.24", or "links": of the topology.
  std::string profile = "links";
  bool measured = false;  ///< curves
  /// Borrowed: curves of another system or framework, or the model of another library.
  bool donor = false;
  double spread = 0;  ///< standard deviation of ln(true / told), for even traffic
};

/// Time of one dispatch and one combine in which kernels hold a whole GPU.
struct MessageKernels {
  double dispatch_ns = 0, combine_ns = 0;
};

/// Carries tokens to their experts and results back: `engine.all2all_backend` (serving-semantics
/// 3.4-3.5). One object per group; `cost` is pure, allocates nothing (groups of some hundred ranks)
/// and takes O(ranks^2) at most. Time is that of a dispatch all ranks start and end together.
///
/// Time = start + the busiest link's bytes over its bandwidth, both as fitted to what is published
/// of the library (hardware/README.md); or, where a profile has the library measured, its curve
/// read at the number of tokens that, spread evenly, would keep the busiest link as busy.
class DispatchBackend {
 public:
  virtual ~DispatchBackend() = default;
  [[nodiscard]] virtual DispatchCost cost(const DispatchTraffic& traffic) const = 0;
  /// SMs its kernels hold while they run beside computation (DBO).
  [[nodiscard]] virtual int sms() const { return 0; }
  /// With a receive hook (serving-semantics 5.3) the network works alone between a kernel that
  /// sends and one that receives, and nothing computes beside those: what they take on a rank that
  /// holds `tokens`. Nothing for backends that run beside computation all the time, on sms().
  [[nodiscard]] virtual MessageKernels kernels(double /*tokens*/) const { return {}; }
  [[nodiscard]] virtual DispatchSource source() const = 0;
  /// Whether time depends on where tokens go; all-gather backends send everything everywhere.
  [[nodiscard]] virtual bool routed() const = 0;
  /// Whether it looks at `rank_copies` and `node_copies`; else `slots` is enough.
  [[nodiscard]] virtual bool needs_copies() const { return routed(); }
};

/// The backend of that name for a group; registered names are in dispatch_names(). Precondition: it
/// is one of them and the group has at least two ranks.
[[nodiscard]] std::unique_ptr<DispatchBackend> make_dispatch(const std::string& name,
                                                             const DispatchSetup& setup);
[[nodiscard]] std::vector<std::string> dispatch_names();

}  // namespace moesim
