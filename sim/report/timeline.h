#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <vector>

#include "sim/engine/observer.h"
#include "sim/report/deployment.h"

namespace moesim {

/// Passes everything on to another observer and keeps the steps for a Chrome trace (glossary 9).
///
/// Keeps the first steps of every instance, so many that the file has at most about `max_events`
/// events (200 bytes each); `dropped_steps` counts the rest. Instances may run on different
/// threads.
class Timeline final : public Observer {
 public:
  static constexpr std::size_t kDefaultMaxEvents = 250'000;
  /// `model` and `deployment` must outlive the object.
  Timeline(const ModelSpec& model, const Deployment& deployment, Observer& next,
           std::size_t max_events = kDefaultMaxEvents);

  void step(const StepRecord& record) override;
  void inter_token(InstanceId instance, SimTime gap, std::int64_t count) override;
  void preempted(InstanceId instance, RequestId request, SimTime when) override;
  void finished(InstanceId instance, RequestId request, SimTime when) override;

  [[nodiscard]] std::uint64_t dropped_steps() const;
  /// The trace as one JSON object. `pid` is the instance, `tid` the rank. Ranks of a stage do the
  /// same work at the same time. Terms of a step stand one after the other in breakdown order: how
  /// they interleave over the layers is not kept, so `layer` is the range of layers a term is
  /// summed over ("0-31"), where it lies in layers at all. `bytes` is the payload the rank sends in
  /// the step, of terms that send. `provenance` of a step is the share of its time by class; a term
  /// has one where the step leaves no doubt which.
  void write(std::ostream& out) const;

 private:
  struct Step {
    StepRecord record;  ///< what is valid during the call only is kept below
    std::vector<StageSpan> stages;
    TermTimes terms{};
    std::array<double, kProvenanceCount> provenance_ns{};
  };
  struct Mark {
    SimTime when = 0;
    RequestId request;
  };
  struct alignas(64) Instance {
    std::vector<Step> steps;
    std::vector<Mark> preemptions;
    std::size_t max_steps = 0;
    std::uint64_t dropped = 0;
  };
  const ModelSpec& model_;
  const Deployment& deployment_;
  Observer& next_;
  std::vector<Instance> instances_;
};

}  // namespace moesim
