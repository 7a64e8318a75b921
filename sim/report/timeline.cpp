#include "sim/report/timeline.h"

#include <algorithm>
#include <fmt/format.h>
#include <ostream>
#include <string>

#include "sim/report/json_text.h"

namespace moesim {
namespace {

/// Terms a step has on every rank, and what is written once an instance: host time and three
/// counters.
constexpr std::size_t kEventsPerRank = 10;
constexpr std::size_t kEventsPerStep = 4;

/// Microseconds, exact to the nanosecond.
std::string us(double ns) {
  return fixed_number(ns * 1e-3, 3);
}
std::string us(SimTime ns) {
  return us(static_cast<double>(ns));
}

const char* phase_name(Phase phase) {
  switch (phase) {
    case Phase::kPrefill:
      return "prefill";
    case Phase::kDecode:
      return "decode";
    case Phase::kMixed:
      return "mixed";
  }
  return "";
}

/// Writes events, comma separated.
class Events {
 public:
  explicit Events(std::ostream& out) : out_(out) {}

  void add(const std::string& event) {
    out_ << (first_ ? "\n" : ",\n") << event;
    first_ = false;
  }
  void name(const char* what, std::size_t pid, std::size_t tid, const std::string& text) {
    add(fmt::format(R"({{"ph":"M","name":"{}","pid":{},"tid":{},"args":{{"name":{}}}}})", what, pid,
                    tid, json_quote(text)));
  }

 private:
  std::ostream& out_;
  bool first_ = true;
};

struct Place {
  std::size_t pid = 0, tid = 0;
};

std::string complete(const Place& place, const char* name, const char* category,
                     const std::string& begin_and_length, const std::string& args) {
  return fmt::format(R"({{"ph":"X","pid":{},"tid":{},"name":"{}","cat":"{}",{},"args":{{{}}}}})",
                     place.pid, place.tid, name, category, begin_and_length, args);
}

std::string span(double begin_ns, double length_ns) {
  return fmt::format(R"("ts":{},"dur":{})", us(begin_ns), us(length_ns));
}

/// The step on one rank, and its terms inside it. Pipeline stages follow one another; a step record
/// does not say how long each took, so they share its time evenly.
void add_rank_step(const StepRecord& step, const TermTimes& terms, const Place& place,
                   const Parallel& parallel, Events& events) {
  const int tokens = step.decodes + step.prefill_tokens;
  const int stages = std::max(1, parallel.pp);
  const int stage = static_cast<int>(place.tid) / std::max(1, parallel.tp) % stages;
  const double length = static_cast<double>(step.gpu_end - step.gpu_start) / stages;
  double at = static_cast<double>(step.gpu_start) + length * stage;
  const double end = at + length;
  events.add(complete(place, phase_name(step.phase), "step_time", span(at, length),
                      fmt::format(R"("step":{},"tokens":{},"padded_tokens":{},"sequences":{})",
                                  step.step, tokens, step.padded_tokens, step.sequences)));
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (terms[i] <= 0) continue;
    const char* term = term_name(static_cast<Term>(i));
    // Overlapped time makes the terms longer than the step; keep them inside it.
    const double part = std::min(terms[i] / stages, end - at);
    if (part <= 0) break;
    events.add(complete(place, term, term, span(at, part),
                        fmt::format(R"("step":{},"tokens":{})", step.step, tokens)));
    at += part;
  }
}

void add_host_and_counters(const StepRecord& step, const Place& host, Events& events) {
  events.add(complete(host, "schedule and launch", "cpu_gap",
                      span(static_cast<double>(step.scheduled),
                           static_cast<double>(step.launched - step.scheduled)),
                      fmt::format(R"("step":{})", step.step)));
  const auto counter = [&](const char* name, const std::string& args) {
    events.add(fmt::format(R"({{"ph":"C","pid":{},"name":"{}","ts":{},"args":{{{}}}}})", host.pid,
                           name, us(step.out_done), args));
  };
  counter("requests", fmt::format(R"("running":{},"waiting":{})", step.running, step.waiting));
  counter("kv blocks", fmt::format(R"("used":{})", step.kv_blocks_used));
}

void name_tracks(const InstanceInfo& instance, std::size_t pid, std::size_t ranks, Events& events) {
  events.name("process_name", pid, 0, fmt::format("instance {}", instance.name));
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const std::string gpu =
        rank < instance.gpus.size() ? fmt::format(" (GPU {})", instance.gpus[rank]) : "";
    events.name("thread_name", pid, rank, fmt::format("rank {}{}", rank, gpu));
  }
  events.name("thread_name", pid, ranks, "host");
}

std::size_t rank_count(const InstanceInfo& instance) {
  return static_cast<std::size_t>(std::max(1, instance.parallel.gpus()));
}

}  // namespace

Timeline::Timeline(const Deployment& deployment, Observer& next, std::size_t max_events)
    : deployment_(deployment), next_(next), instances_(deployment.instances.size()) {
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    const std::size_t per_step =
        kEventsPerRank * rank_count(deployment.instances[i]) + kEventsPerStep;
    instances_[i].max_steps = max_events / instances_.size() / per_step;
  }
}

void Timeline::step(const StepRecord& record) {
  Instance& instance = instances_[record.instance.index()];
  if (instance.steps.size() < instance.max_steps) {
    Step& step = instance.steps.emplace_back();
    step.record = record;
    step.record.terms = nullptr;
    if (record.terms != nullptr) step.terms = *record.terms;
  } else {
    ++instance.dropped;
  }
  next_.step(record);
}

void Timeline::inter_token(InstanceId instance, SimTime gap, std::int64_t count) {
  next_.inter_token(instance, gap, count);
}

void Timeline::preempted(InstanceId instance, RequestId request, SimTime when) {
  Instance& kept = instances_[instance.index()];
  if (kept.dropped == 0 && kept.preemptions.size() < kept.max_steps)
    kept.preemptions.push_back({when, request});
  next_.preempted(instance, request, when);
}

void Timeline::finished(InstanceId instance, RequestId request, SimTime when) {
  next_.finished(instance, request, when);
}

std::uint64_t Timeline::dropped_steps() const {
  std::uint64_t sum = 0;
  for (const Instance& instance : instances_) sum += instance.dropped;
  return sum;
}

void Timeline::write(std::ostream& out) const {
  out << R"({"displayTimeUnit":"ms","otherData":{"dropped_steps":)" << dropped_steps()
      << R"(},"traceEvents":[)";
  Events events(out);
  for (std::size_t pid = 0; pid < instances_.size(); ++pid) {
    const InstanceInfo& info = deployment_.instances[pid];
    const std::size_t ranks = rank_count(info);
    name_tracks(info, pid, ranks, events);
    for (const Step& step : instances_[pid].steps) {
      for (std::size_t rank = 0; rank < ranks; ++rank)
        add_rank_step(step.record, step.terms, {pid, rank}, info.parallel, events);
      add_host_and_counters(step.record, {pid, ranks}, events);
    }
    for (const Mark& mark : instances_[pid].preemptions) {
      events.add(fmt::format(
          R"({{"ph":"i","s":"t","pid":{},"tid":{},"name":"preempted","ts":{},"args":{{"request":{}}}}})",
          pid, ranks, us(mark.when), mark.request.value));
    }
  }
  out << "\n]}\n";
}

}  // namespace moesim
