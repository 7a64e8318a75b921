#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hardware/topology.h"

namespace moesim {

enum class CollectiveKind { kAllReduce, kAllGather, kReduceScatter, kAllToAll, kBroadcast };

/// What a collective over a group of GPUs takes. `bytes` is nccl-tests' size: the full buffer per
/// rank of all-reduce, the full gathered buffer of all-gather, the full input of reduce-scatter,
/// the full send buffer of all-to-all.
struct CollectiveCall {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  Bytes bytes;
  std::span<const int> gpus;  ///< cluster GPU numbers, group order
};

struct CollectiveCost {
  Seconds time;
  Bytes busiest_link;  ///< bytes over the link that bounds it
};

/// What a group costs at every size: the least of a few straight lines, one per protocol. Never
/// falls with bytes.
struct CostLine {
  Seconds fixed;
  double seconds_per_byte = 0;
};
struct CostCurve {
  std::vector<CostLine> lines;  ///< at least one
  double busiest_share = 0;     ///< bytes over the busiest link per byte of the call
  [[nodiscard]] CollectiveCost at(Bytes bytes) const;
};

/// One algorithm. Never faster with more bytes, 0 for a single rank, the same for any order of the
/// group (contract test over all registered). Registered: ring, tree, halving_doubling, one_shot,
/// two_shot, direct_all_to_all, hierarchical_all_to_all.
class CollectiveAlgorithm {
 public:
  virtual ~CollectiveAlgorithm() = default;
  /// Whether it can do `call.kind` over `call.gpus`; does not look at the bytes.
  [[nodiscard]] virtual bool supports(const CollectiveCall& call,
                                      const Topology& topology) const = 0;
  /// Cost of the kind and group at every size. Preconditions: supported, at least two GPUs. Costs a
  /// walk over the group's paths; keep the curve for many sizes.
  [[nodiscard]] virtual CostCurve curve(CollectiveKind kind, std::span<const int> gpus,
                                        const Topology& topology) const = 0;
  /// Precondition: supports(call, topology).
  [[nodiscard]] CollectiveCost cost(const CollectiveCall& call, const Topology& topology) const;
};

/// Chooses what vLLM would use for a TP all-reduce: custom one-shot / two-shot by the table of
/// serving-semantics 4.4 (NVLink or 2 ranks; size limits by SM version), else the best of NCCL's
/// ring and tree; and the cheapest supported algorithm for the other kinds. Remembers the curves of
/// each (kind, group), so that a repeated query takes well under a microsecond; one object must
/// therefore not be used by two threads at once. `topology` must outlive it.
class Collectives {
 public:
  Collectives(const Topology& topology, int sm_version);
  Collectives(Collectives&&) noexcept;
  ~Collectives();
  [[nodiscard]] CollectiveCost cost(const CollectiveCall& call) const;
  /// Name of the algorithm `cost` used, for the report.
  [[nodiscard]] std::string chosen(const CollectiveCall& call) const;
  /// Point-to-point message (pipeline stages).
  [[nodiscard]] Seconds send(Bytes bytes, int from_gpu, int to_gpu) const;

 private:
  struct Candidate {
    std::string name;
    std::unique_ptr<CollectiveAlgorithm> algorithm;
  };
  struct Option;
  struct Group;
  struct Memo;
  [[nodiscard]] std::unique_ptr<Group> make_group(const CollectiveCall& call) const;
  [[nodiscard]] const Group& group_of(const CollectiveCall& call) const;
  /// What vLLM would take for the call; at least two GPUs.
  [[nodiscard]] const Option& pick(const CollectiveCall& call) const;
  const Topology* topology_;
  int sm_version_;
  std::vector<Candidate> candidates_;
  std::unique_ptr<Memo> memo_;
};

}  // namespace moesim
