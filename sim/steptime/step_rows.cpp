#include "sim/steptime/step_rows.h"

#include <algorithm>

#include "scenarios/workload.h"
#include "sim/base/check.h"
#include "sim/steptime/step_time.h"

namespace moesim {
namespace {

/// Requests whose walks are kept: more than run at once on most instances; others walk again.
constexpr std::size_t kWalks = 8192;

}  // namespace

StepRows::StepRows(const RoutingTables& tables, const Workload* workload)
    : tables_(tables),
      workload_(workload),
      balanced_(tables.routing().consecutive_rows()),
      independent_(tables.replay().mode() == RoutingReplay::Mode::kIndependent),
      walks_(kWalks) {}

void StepRows::restart() {
  for (Known& known : walks_) known.known = false;
}

/// Block of a prompt token that belongs to a shared one, and how far into it.
bool StepRows::find_block(std::uint32_t request, std::uint32_t at, std::uint32_t& block,
                          std::uint32_t& offset) const {
  if (workload_ == nullptr || workload_->chain_begin.empty()) return false;
  const auto first = workload_->chain.begin() + workload_->chain_begin[request];
  const auto last = workload_->chain.begin() + workload_->chain_begin[request + 1];
  const auto found = std::upper_bound(
      first, last, at, [](std::uint32_t t, const ChainElement& e) { return t < e.end; });
  if (found == last) return false;
  block = found->id;
  offset = at - (found == first ? 0 : (found - 1)->end);
  return true;
}

const RoutingReplay::Walk& StepRows::walk(std::uint32_t request) {
  Known& known = walks_[request % kWalks];
  if (!known.known || known.walk.request != request) {
    known.walk = tables_.replay().walk(request);
    known.known = true;
  }
  return known.walk;
}

void StepRows::list(const MoeStep& step) {
  rows_.clear();
  keys_.clear();
  by_rank_.clear();
  for (const StepWork& work : step.works) {
    const std::size_t before = rows_.size();
    for (const RoutedToken& token : work.tokens) add(token.request, token.prompt, token.index);
    for (const PromptChunk& chunk : work.chunks) add_chunk(chunk);
    by_rank_.push_back(rows_.size() - before);
  }
  real_ = rows_.size();
  const auto tokens = static_cast<std::size_t>(step.decode_tokens + step.prompt_tokens);
  MOESIM_CHECK(rows_.size() <= tokens, "a step has room for the tokens in it");
  const std::uint64_t rows = tables_.table().rows();
  // Padding and dummy tokens carry what earlier steps left in their slots: tokens of their own.
  while (rows_.size() < tokens) {
    const std::uint64_t key = mix64(step.step << 20 | rows_.size());
    rows_.push_back(key % rows);
    if (independent_)
      keys_.push_back(
          {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32), false});
  }
  if (!balanced_) return;
  // Neighbours in a step, and from step to step while as many tokens run: a function of the step,
  // since instances that share this run in any order.
  const std::uint64_t first = step.step * rows_.size();
  for (std::size_t i = 0; i < rows_.size(); ++i) rows_[i] = (first + i) % rows;
}

void StepRows::add_chunk(const PromptChunk& chunk) {
  const auto first = static_cast<std::uint32_t>(chunk.context);
  const std::uint32_t prompt = workload_ == nullptr
                                   ? first + static_cast<std::uint32_t>(chunk.tokens)
                                   : workload_->prompt_tokens[chunk.request];
  for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(chunk.tokens); ++i) {
    const std::uint32_t at = first + i;
    // A preempted request computes its output again: those tokens take their own rows.
    if (at < prompt) {
      add(chunk.request, true, at);
    } else {
      add(chunk.request, false, at - prompt);
    }
  }
}

void StepRows::add(std::uint32_t request, bool prompt, std::uint32_t index) {
  const RoutingReplay& replay = tables_.replay();
  if (independent_) keys_.push_back({request, index, prompt});
  std::uint32_t block = 0, offset = 0;
  if (prompt && find_block(request, index, block, offset)) {
    rows_.push_back(replay.block_row(block, offset));
    return;
  }
  const RoutingReplay::Walk& of = walk(request);
  rows_.push_back(prompt ? replay.prompt_row(of, index) : replay.decode_row(of, index));
}

}  // namespace moesim
