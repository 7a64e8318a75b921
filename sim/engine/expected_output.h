#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moesim {

struct SchedulerState;

/// Output tokens that the decoding requests may still make, each counted up to `kClip`: what SGLang
/// reserves a share of (serving-semantics 8.1). A step costs O(1): whoever is below the clip loses
/// one token with it.
class ExpectedOutput {
 public:
  /// CLIP_MAX_NEW_TOKENS of schedule_policy.py [S53/S518 sched].
  static constexpr std::int64_t kClip = 4096;

  /// Output tokens of a slot that are not scheduled yet.
  [[nodiscard]] static std::int64_t left(const SchedulerState& state, std::uint32_t slot);
  [[nodiscard]] static double clipped(const SchedulerState& state, std::uint32_t slot);

  /// A slot that has output left begins to decode.
  void join(const SchedulerState& state, std::uint32_t slot);
  /// It is evicted. Call before it leaves its cohort.
  void leave(const SchedulerState& state, std::uint32_t slot);
  /// Members near their end are told apart from those above the clip. Call before a step in which
  /// somebody may end.
  void look(const SchedulerState& state);
  /// Every member made a token; for `ended` of them it was the last.
  void step(std::size_t ended) {
    sum_ -= below_;
    below_ -= static_cast<std::int64_t>(ended);
  }
  /// The sum. Costs O(members above the clip).
  [[nodiscard]] std::int64_t tokens(const SchedulerState& state);

 private:
  std::int64_t below_ = 0;            ///< members with at most kClip tokens left
  std::int64_t sum_ = 0;              ///< their tokens
  std::vector<std::uint32_t> above_;  ///< slots of the others, as of the last look
};

}  // namespace moesim
