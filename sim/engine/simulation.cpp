#include "sim/engine/simulation.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/random.h"

namespace moesim {
namespace {

constexpr std::uint64_t kCheckEvery = 64;   // actions between invariant checks
constexpr std::uint64_t kStopEvery = 4096;  // actions between looks at the stop flag

}  // namespace

Simulation::Simulation(Workload workload, std::unique_ptr<RequestRouter> router,
                       const Options& options)
    : workload_(std::move(workload)), router_(std::move(router)), options_(options) {
  const std::size_t n = workload_.size();
  table_.resize(n);
  for (std::size_t r = 0; r < n; ++r) {
    const std::int64_t prompt = workload_.prompt_tokens[r];
    const std::int64_t room = prompt > options_.max_prompt ? 0 : options_.max_model_len - prompt;
    table_.output_tokens[r] =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>(room, 0, workload_.output_tokens[r]));
  }
  if (workload_.predecessor.empty()) return;
  first_follower_.assign(n, kNoRequest);
  next_follower_.assign(n, kNoRequest);
  for (auto r = static_cast<std::uint32_t>(n); r-- > 0;) {  // backwards, so that lists ascend
    const std::uint32_t before = workload_.predecessor[r];
    if (before == kNoRequest) continue;
    next_follower_[r] = first_follower_[before];
    first_follower_[before] = r;
  }
}

/// Follow-up turns have no arrival of their own.
void Simulation::skip_followers() {
  if (workload_.predecessor.empty()) return;
  while (next_fresh_ < workload_.size() && workload_.predecessor[next_fresh_] != kNoRequest)
    ++next_fresh_;
}

/// Time of the next request with an arrival of its own or the next released follow-up.
SimTime Simulation::next_ready() const {
  const SimTime fresh = next_fresh_ < workload_.size() ? workload_.arrival_ns[next_fresh_] : kNever;
  return queue_.empty() ? fresh : std::min(fresh, queue_.top().time);
}

/// A request may be sent: at once, or when the client's semaphore lets it.
void Simulation::ready(std::uint32_t request, SimTime now) {
  ++events_;
  if (workload_.max_concurrency > 0 && in_system_ >= workload_.max_concurrency) {
    client_queue_.push_back(request);
    return;
  }
  send(request, now);
}

void Simulation::send(std::uint32_t request, SimTime now) {
  if (table_.output_tokens[request] ==
      0) {  // the prompt alone reaches max_model_len: the engine refuses it
    table_.arrival[request] = now;
    table_.status[request] = RequestStatus::kDropped;
    released(request, now);
    return;
  }
  ++in_system_;
  if (router_->needs_load()) {
    for (std::size_t i = 0; i < instances_.size(); ++i) {
      loads_[i] = {instances_[i]->waiting(), instances_[i]->running(), instances_[i]->token_load()};
    }
  }
  const std::size_t chosen = instances_.size() == 1 ? 0 : router_->pick(request, loads_);
  MOESIM_CHECK(chosen < instances_.size(), "a router picks an instance that exists");
  instances_[chosen]->arrive(request, now);
}

/// The end of a request releases its follow-up turns.
void Simulation::released(std::uint32_t request, SimTime now) {
  if (first_follower_.empty()) return;
  for (std::uint32_t r = first_follower_[request]; r != kNoRequest; r = next_follower_[r]) {
    queue_.push({now + workload_.arrival_ns[r], r});
  }
}

void Simulation::act(Instance& instance, Observer* observer) {
  const SimTime now = instance.next_time();
  ++events_;
  for (const std::uint32_t request : instance.act(observer)) {
    --in_system_;
    end_time_ = std::max(end_time_, now);
    if (options_.completed != nullptr) options_.completed->fetch_add(1, std::memory_order_relaxed);
    released(request, now);
    // One that the engine refuses makes room for the next at once.
    while (client_head_ < client_queue_.size() && in_system_ < workload_.max_concurrency) {
      send(client_queue_[client_head_++], now);
    }
  }
  if (options_.check && events_ % kCheckEvery == 0) instance.check();
}

bool Simulation::stop_asked() {
  if (options_.stop != nullptr && events_ % kStopEvery == 0 &&
      options_.stop->load(std::memory_order_relaxed)) {
    stopped_ = true;
  }
  return stopped_;
}

/// One clock for all: the earliest of the next sendable request and the instances' next actions.
void Simulation::run_together(Observer* observer) {
  skip_followers();
  while (!stop_asked()) {
    Instance* first = instances_.front().get();
    for (const auto& instance : instances_) {
      if (instance->next_time() < first->next_time()) first = instance.get();
    }
    const SimTime send_time = next_ready();
    const SimTime act_time = first->next_time();
    if (std::min(send_time, act_time) >= options_.horizon) return;
    if (act_time < send_time) {
      act(*first, observer);
      continue;
    }
    const bool fresh =
        next_fresh_ < workload_.size() && workload_.arrival_ns[next_fresh_] == send_time;
    const bool queued = !queue_.empty() && queue_.top().time == send_time;
    if (fresh && (!queued || next_fresh_ < queue_.top().sequence)) {
      const std::uint32_t request = next_fresh_++;
      skip_followers();
      ready(request, send_time);
    } else {
      ready(static_cast<std::uint32_t>(queue_.pop().sequence), send_time);
    }
  }
}

/// One instance through its requests, to the end or the horizon.
void Simulation::run_alone(Instance& instance, std::span<const std::uint32_t> mine,
                           Observer* observer) {
  std::size_t next = 0;
  while (!stop_asked()) {
    const SimTime send_time = next < mine.size() ? workload_.arrival_ns[mine[next]] : kNever;
    const SimTime act_time = instance.next_time();
    if (std::min(send_time, act_time) >= options_.horizon) break;
    if (act_time < send_time) {
      act(instance, observer);
    } else {
      ++in_system_;
      instance.arrive(mine[next++], send_time);
    }
  }
}

/// Nothing couples the instances: each runs through its own requests in a tight loop.
void Simulation::run_apart(Observer* observer) {
  std::vector<std::vector<std::uint32_t>> mine(instances_.size());
  for (std::uint32_t r = 0; r < workload_.size(); ++r) {
    if (workload_.arrival_ns[r] >= options_.horizon) break;
    ++events_;
    if (table_.output_tokens[r] == 0) {
      table_.arrival[r] = workload_.arrival_ns[r];
      table_.status[r] = RequestStatus::kDropped;
      continue;
    }
    mine[instances_.size() == 1 ? 0 : router_->pick(r, loads_)].push_back(r);
  }
  for (std::size_t i = 0; i < instances_.size() && !stopped_; ++i)
    run_alone(*instances_[i], mine[i], observer);
}

void Simulation::run(Observer* observer) {
  MOESIM_CHECK(!instances_.empty(), "a simulation has an instance");
  loads_.assign(instances_.size(), {});
  router_->start(options_.seed, instances_.size(), workload_);
  const bool coupled = workload_.max_concurrency > 0 || !workload_.predecessor.empty() ||
                       (instances_.size() > 1 && router_->needs_load());
  if (coupled) {
    run_together(observer);
  } else {
    run_apart(observer);
  }
  finish();
}

void Simulation::finish() {
  for (const auto& instance : instances_) {
    if (options_.check) instance->check();
    instance->cut_off();
  }
  if (options_.horizon != kNever) end_time_ = options_.horizon;
  for (std::size_t r = 0; r < table_.size(); ++r) {
    const bool held_back = table_.status[r] == RequestStatus::kPending;
    if (held_back) table_.status[r] = RequestStatus::kIncomplete;
  }
}

std::uint64_t Simulation::digest() const {
  std::uint64_t result = 0;
  for (const auto& instance : instances_) result += instance->digest();
  for (const auto& instance : instances_) {
    const InstanceTotals totals = instance->totals();
    const std::uint64_t parts[] = {totals.steps, static_cast<std::uint64_t>(totals.step_ns),
                                   static_cast<std::uint64_t>(totals.blocks_taken),
                                   static_cast<std::uint64_t>(totals.blocks_evicted)};
    for (const std::uint64_t part : parts) result = mix64(result ^ part) + 0x9e3779b97f4a7c15ULL;
  }
  return result;
}

}  // namespace moesim
