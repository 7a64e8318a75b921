// One call of schedule(): serving-semantics 1.3.
#include <algorithm>
#include <utility>

#include "tests/reference/plain_instance.h"

namespace moesim::reference {

/// Whether a request whose known tokens are computed can run: its last token is known, or async
/// scheduling stands in for it - unless it is certain to end.
bool PlainInstance::may_decode(const PlainState& r) const {
  const Limits& limits = config_.limits;
  if (!r.in_flight) return true;
  if (!limits.async || limits.pipeline_stages > 1) return false;
  if (limits.max_model_len - 1 - r.computed < 1) return false;
  if (r.generated < r.output) return true;
  return limits.finish_eos && !r.extra_step;
}

std::int64_t PlainInstance::wanted(const PlainState& r, int budget) const {
  const Limits& limits = config_.limits;
  if (r.computed >= r.known && !may_decode(r)) return 0;
  std::int64_t n = r.computed < r.known ? r.known - r.computed : 1;
  if (limits.long_prefill_token_threshold > 0) {
    n = std::min<std::int64_t>(n, limits.long_prefill_token_threshold);
  }
  return std::min({n, std::int64_t{budget}, limits.max_model_len - 1 - r.computed});
}

void PlainInstance::serve_running(PlainCall& call, int& budget) {
  std::size_t i = 0;
  while (i < running_.size() && budget > 0) {
    const Id id = running_[i];
    PlainState& r = requests_[id];
    const std::int64_t n = wanted(r, budget);
    if (n == 0) {
      ++i;
      continue;
    }
    while (tables_.needed(id, 0, r.computed + n) > tables_.pool().free_count()) {
      if (make_room(call, id, i, budget)) return;
    }
    tables_.grow(id, r.computed + n);
    const bool decode = r.computed >= r.known;
    if (!decode) {
      tables_.offer_identities(id, r.computed + n);
      if (tables_.caching()) hashed_blocks_ += static_cast<int>(n / config_.block_size);
    }
    call.parts.push_back({id, static_cast<int>(n), r.computed, decode, false});
    budget -= static_cast<int>(n);
    ++i;
  }
}

/// Preempts one request; true if it was `for_id` itself.
bool PlainInstance::make_room(PlainCall& call, Id for_id, std::size_t& i, int& budget) {
  const std::size_t v = victim();
  const Id id = running_[v];
  const auto served = std::find_if(call.parts.begin(), call.parts.end(),
                                   [&](const PlainPart& part) { return part.request == id; });
  if (served != call.parts.end()) {
    budget += served->tokens;
    PlainState& r = requests_[id];
    if (!served->decode) r.computed += served->tokens;  // its blocks count as computed (c)
    call.parts.erase(served);
    --i;
  }
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(v));
  preempt(call, id);
  return id == for_id;
}

std::size_t PlainInstance::victim() const {
  std::size_t worst = running_.size() - 1;
  if (!config_.limits.priority) return worst;
  const auto key = [&](std::size_t i) {
    return std::pair(requests_[running_[i]].priority, result_.requests[running_[i]].arrival);
  };
  worst = 0;
  for (std::size_t i = 1; i < running_.size(); ++i) {
    if (key(i) > key(worst)) worst = i;
  }
  return worst;
}

void PlainInstance::preempt(PlainCall& call, Id id) {
  PlainState& r = requests_[id];
  tables_.give_own_id(id);
  tables_.release(id, r.computed - (config_.limits.async && r.in_flight ? 1 : 0));
  r.computed = r.known = 0;
  r.extra_step = false;
  waiting_.push_front(id);
  sort_waiting();
  call.preempted.push_back(id);
  ++result_.requests[id].preemptions;
  ++result_.preemptions;
}

void PlainInstance::admit_waiting(PlainCall& call, int& budget, SimTime now) {
  const Limits& limits = config_.limits;
  while (!waiting_.empty() && budget > 0) {
    if (running_.size() == static_cast<std::size_t>(limits.max_num_seqs)) return;
    const Id id = waiting_.front();
    PlainState& r = requests_[id];
    if (r.in_flight) return;
    const std::int64_t tokens = r.prompt + r.generated;
    const std::int64_t hit = tables_.find_hit(id, tokens);
    const std::int64_t cached = hit * config_.block_size;
    std::int64_t n = tokens - cached;
    if (limits.long_prefill_token_threshold > 0) {
      n = std::min<std::int64_t>(n, limits.long_prefill_token_threshold);
    }
    if (!limits.chunked_prefill && n > budget) return;
    n = std::min<std::int64_t>(n, budget);
    const std::int64_t room = tables_.pool().free_count();
    if (limits.reserve_full_isl && tables_.needed_in_full(id, hit, tokens) > room) return;
    const std::int64_t slots = std::min<std::int64_t>(cached + n, limits.max_model_len);
    if (tables_.needed(id, hit, slots) > room) return;

    waiting_.pop_front();
    running_.push_back(id);
    PlainRequest& told = result_.requests[id];
    if (told.first_scheduled == kNever) {
      told.first_scheduled = now;
      told.cached_tokens = cached;
      result_.prefix_query_tokens += tokens;
      result_.prefix_hit_tokens += cached;
    }
    r.known = tokens;
    r.computed = cached;
    tables_.take_hit(id, hit);
    tables_.grow(id, slots);
    tables_.offer_identities(id, slots);
    call.parts.push_back({id, static_cast<int>(n), cached, false, false});
    call.admitted.push_back({id, hit});
    budget -= static_cast<int>(n);
    ++admitted_;
    if (tables_.caching()) hashed_blocks_ += static_cast<int>(n / config_.block_size);
  }
}

/// n_computed advances when scheduled, not when done.
void PlainInstance::settle(PlainCall& call) {
  for (PlainPart& part : call.parts) {
    PlainState& r = requests_[part.request];
    if (part.decode) {
      ++call.decodes;
      for (std::size_t g = 0; g < config_.groups.size(); ++g) {
        const KvGroup& group = config_.groups[g];
        std::int64_t seen = r.computed + 1;
        if (group.kind == AttentionKind::kSliding)
          seen = std::min<std::int64_t>(seen, group.window);
        if (group.kind == AttentionKind::kChunked) seen = r.computed % group.window + 1;
        call.decode_context[g] += seen;
      }
    }
    r.computed += part.tokens;
    if (r.computed < r.known) continue;
    if (r.generated == r.output) {
      r.extra_step = true;
      continue;
    }
    part.samples = true;
    ++r.generated;
    r.in_flight = true;
  }
}

/// Before any allocation: what is out of sight of every request that may run (decision d).
void PlainInstance::leave_windows() {
  std::vector<PlainBlocks::Block> others;
  for (const Id id : running_) {
    const PlainState& r = requests_[id];
    if (r.computed < r.known || may_decode(r)) tables_.leave_windows(id, r.computed, others);
  }
  tables_.free(others);
}

}  // namespace moesim::reference
