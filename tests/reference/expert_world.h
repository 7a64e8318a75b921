#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "scenarios/expert_routing.h"
#include "scenarios/workload.h"
#include "sim/steptime/routing_tables.h"
#include "sim/steptime/step_time.h"
#include "tests/reference/plain_experts.h"

namespace moesim::reference {

/// A routing of rows drawn at random, replayed in any mode.
class DrawnRouting final : public ExpertRouting {
 public:
  DrawnRouting(RoutingReplay::Mode mode, std::uint64_t seed) : mode_(mode), seed_(seed) {}
  RoutingTable table(const RoutingShape& shape, const TableSize& size, std::uint64_t seed,
                     std::uint64_t epoch) const override;
  RoutingReplay::Options replay(std::uint64_t) const override { return {mode_, true, seed_, {}}; }

 private:
  RoutingReplay::Mode mode_;
  std::uint64_t seed_;
};

/// What a small instance of experts is made of.
struct ExpertPlan {
  ModelSpec model;
  Parallel parallel;
  EngineSpec engine;
  KvLayout kv;
  std::string backend = "allgather_reducescatter";
  ClusterSpec cluster;
  ExpertPlacement placement;  ///< with expert parallelism
  RoutingReplay::Mode replay = RoutingReplay::Mode::kSequence;
  std::uint64_t seed = 1;
  const Workload* workload = nullptr;  ///< requests whose tokens are routed
};

/// One instance twice: as the engine prices it, every token by itself, and as the plain reference
/// does. Both see the same prices of operators: round numbers that grow with an operator's work.
class ExpertWorld {
 public:
  explicit ExpertWorld(const ExpertPlan& plan, bool spread = true);
  ExpertWorld(const ExpertWorld&) = delete;
  ExpertWorld& operator=(const ExpertWorld&) = delete;

  StepTime& engine() { return *engine_; }
  [[nodiscard]] const PlainExperts& plain() const { return *plain_; }
  [[nodiscard]] const ExpertPlan& plan() const { return plan_; }

 private:
  [[nodiscard]] PlainGroup group_of(int stage) const;
  void make_engine();
  void make_plain(bool spread);
  [[nodiscard]] std::vector<int> row(std::uint64_t row, int layer) const;
  [[nodiscard]] std::vector<int> choose(const RoutedToken& token, int layer) const;
  [[nodiscard]] std::vector<int> fill(std::uint64_t step, std::size_t index, int layer) const;

  ExpertPlan plan_;
  Topology topology_;
  Collectives collectives_;
  std::unique_ptr<KernelModel> prices_;
  std::unique_ptr<RoutingTables> tables_;  ///< the plain side's own
  std::unique_ptr<StepTime> engine_;
  std::unique_ptr<PlainExperts> plain_;
};

/// A plan meant to hurt, by seed: layout, backend, placement, copies, top-k, windows, graphs.
/// Attention groups are those of `kv_groups`; `stages` pipeline stages.
[[nodiscard]] ExpertPlan random_plan(std::uint64_t seed, const std::vector<KvGroup>& kv_groups,
                                     int stages);

}  // namespace moesim::reference
