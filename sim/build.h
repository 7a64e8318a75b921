#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/engine/observer.h"
#include "sim/report/deployment.h"
#include "sim/report/run_view.h"
#include "sim/steptime/kernel_model.h"

namespace moesim {

class KernelLog;
class Simulation;

struct RunOptions {
  bool check = false;                              ///< verify invariants while running (slower)
  const std::atomic<bool>* stop = nullptr;         ///< end early when set
  std::atomic<std::int64_t>* completed = nullptr;  ///< requests done so far, for a progress bar
  FamilyNoise noise{};  ///< step times of one replica of the uncertainty; zero is the nominal run
  /// Where experts lie, instead of what the scenario's placement says; copied.
  const ExpertPlacement* placement = nullptr;
  /// Requests instead of the scenario's, where no file can say them; copied.
  const Workload* workload = nullptr;
  KernelLog* kernel_log = nullptr;  ///< told of every operator priced; outlives the world
};

/// A scenario made ready to run: cluster graph, step-time model, engines, requests. The only place
/// where all parts meet.
class World {
 public:
  /// Precondition: every instance of `deployment` is feasible. Throws InputError for a bad trace.
  World(const Scenario& scenario, Deployment deployment, const RunOptions& options = {});
  World(World&&) noexcept;
  World& operator=(World&&) noexcept;
  ~World();

  /// Runs to the end, the horizon, or until stopped. Call once; `observer` may be null.
  void run(Observer* observer);
  /// What happened, for the report. Valid while the world lives.
  [[nodiscard]] RunView view() const;
  [[nodiscard]] const Scenario& scenario() const;
  [[nodiscard]] const Workload& workload() const;
  [[nodiscard]] const Deployment& deployment() const;
  [[nodiscard]] int instance_count() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// lay_out, then a World. Precondition: feasible.
[[nodiscard]] World build(const Scenario& scenario, const RunOptions& options = {});

}  // namespace moesim
