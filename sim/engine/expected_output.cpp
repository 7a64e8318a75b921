#include "sim/engine/expected_output.h"

#include <algorithm>

#include "sim/engine/scheduler.h"

namespace moesim {

std::int64_t ExpectedOutput::left(const SchedulerState& state, std::uint32_t s) {
  const Slot& slot = state.running[s];
  return std::int64_t{state.table->output_tokens[slot.request]} - state.generated(slot);
}

double ExpectedOutput::clipped(const SchedulerState& state, std::uint32_t s) {
  return static_cast<double>(std::min(left(state, s), kClip));
}

void ExpectedOutput::join(const SchedulerState& state, std::uint32_t s) {
  const std::int64_t tokens = left(state, s);
  if (tokens > kClip) {
    above_.push_back(s);
    return;
  }
  ++below_;
  sum_ += tokens;
}

/// Members that fell to the clip since the last look are counted with what they have left now.
void ExpectedOutput::look(const SchedulerState& state) {
  std::erase_if(above_, [&](std::uint32_t s) {
    const std::int64_t tokens = left(state, s);
    if (tokens > kClip) return false;
    ++below_;
    sum_ += tokens;
    return true;
  });
}

void ExpectedOutput::leave(const SchedulerState& state, std::uint32_t s) {
  look(state);
  if (std::erase(above_, s) > 0) return;
  const std::int64_t tokens = left(state, s);
  if (tokens <= 0) return;
  --below_;
  sum_ -= tokens;
}

std::int64_t ExpectedOutput::tokens(const SchedulerState& state) {
  look(state);
  return sum_ + static_cast<std::int64_t>(above_.size()) * kClip;
}

}  // namespace moesim
