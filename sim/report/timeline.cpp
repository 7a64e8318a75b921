#include "sim/report/timeline.h"

#include <algorithm>
#include <fmt/format.h>
#include <ostream>
#include <string>
#include <vector>

#include "sim/report/json_text.h"
#include "sim/report/step_messages.h"

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

/// Whether a term's time is that of work in layers.
bool lies_in_layers(Term term) {
  switch (term) {
    case Term::kAttention:
    case Term::kAttentionProj:
    case Term::kRouter:
    case Term::kDispatch:
    case Term::kExpertGemm:
    case Term::kSharedExpert:
    case Term::kCombine:
    case Term::kDenseFfn:
    case Term::kAllReduce:
    case Term::kElementwise:
    case Term::kExpertCopy:
      return true;
    default:
      return false;
  }
}

using ProvenanceTimes = std::array<double, kProvenanceCount>;

/// Shares of a step's time by class, as a JSON object.
std::string provenance_shares(const ProvenanceTimes& times) {
  double all = 0;
  for (const double ns : times) all += ns;
  std::string text;
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (times[i] <= 0) continue;
    text +=
        fmt::format(R"({}"{}":{})", text.empty() ? "" : ",",
                    provenance_name(static_cast<Provenance>(i)), fixed_number(times[i] / all, 4));
  }
  return text;
}

/// The class of every kernel of a step: null unless there is only one. Exposed launch time is
/// assumed by its nature and no kernel.
const char* kernel_provenance(const ProvenanceTimes& times, const TermTimes& terms) {
  constexpr double kRounding = 1e-6;  // ns; the classes are sums of many terms
  const char* name = nullptr;
  for (std::size_t i = 0; i < times.size(); ++i) {
    double ns = times[i];
    if (static_cast<Provenance>(i) == Provenance::kAssumed)
      ns -= terms[static_cast<std::size_t>(Term::kLaunchOverhead)];
    if (ns <= kRounding) continue;
    if (name != nullptr) return nullptr;
    name = provenance_name(static_cast<Provenance>(i));
  }
  return name;
}

/// What all ranks of a pipeline stage say about a step.
struct StageArgs {
  std::string layers;  ///< range; empty if the stage has none
  StepMessages::Bytes bytes{};
  const char* provenance = nullptr;
};

std::string layer_range(const Shard& shard) {
  if (shard.last_layer <= shard.first_layer) return "";
  if (shard.last_layer == shard.first_layer + 1) return fmt::format("{}", shard.first_layer);
  return fmt::format("{}-{}", shard.first_layer, shard.last_layer - 1);
}

std::vector<StageArgs> stage_args(const StepRecord& step, StepMessages& messages) {
  std::vector<StageArgs> stages;
  stages.reserve(static_cast<std::size_t>(messages.stages()));
  for (int s = 0; s < messages.stages(); ++s) {
    stages.push_back({layer_range(messages.shard(s)),
                      messages.bytes(s, step.padded_tokens, step.sampled_rows),
                      kernel_provenance(*step.provenance_ns, *step.terms)});
  }
  return stages;
}

std::string term_args(const StepRecord& step, Term term, const StageArgs& stage) {
  std::string args = fmt::format(R"("step":{})", step.step);
  if (lies_in_layers(term) && !stage.layers.empty())
    args += fmt::format(R"(,"layer":"{}")", stage.layers);
  args += fmt::format(R"(,"tokens":{})", step.decodes + step.prefill_tokens);
  const double bytes = stage.bytes[static_cast<std::size_t>(term)];
  if (bytes > 0) args += fmt::format(R"(,"bytes":{})", fixed_number(bytes, 0));
  const char* const provenance =
      term == Term::kLaunchOverhead ? provenance_name(Provenance::kAssumed) : stage.provenance;
  if (provenance != nullptr) args += fmt::format(R"(,"provenance":"{}")", provenance);
  return args;
}

std::string step_args(const StepRecord& step, const StageArgs& stage) {
  std::string args = fmt::format(R"("step":{})", step.step);
  if (!stage.layers.empty()) args += fmt::format(R"(,"layer":"{}")", stage.layers);
  args += fmt::format(R"(,"tokens":{},"padded_tokens":{},"sequences":{})",
                      step.decodes + step.prefill_tokens, step.padded_tokens, step.sequences);
  const std::string shares = provenance_shares(*step.provenance_ns);
  if (!shares.empty()) args += fmt::format(R"(,"provenance":{{{}}})", shares);
  return args;
}

int stage_of(std::size_t rank, const Parallel& parallel) {
  return static_cast<int>(rank) / std::max(1, parallel.tp) % std::max(1, parallel.pp);
}

/// The step on one rank, and its terms inside it. Terms are known over all stages: each stage has
/// the same mix.
void add_rank_step(const StepRecord& step, const Place& place, const Parallel& parallel,
                   const StageArgs& args, Events& events) {
  const TermTimes& terms = *step.terms;
  double all = 0;
  for (const StageSpan& stage : step.stages) all += static_cast<double>(stage.end - stage.start);
  const StageSpan& own = step.stages[static_cast<std::size_t>(stage_of(place.tid, parallel))];
  double at = static_cast<double>(own.start);
  const auto end = static_cast<double>(own.end);
  const double length = end - at;
  const double share = all > 0 ? length / all : 0;
  events.add(complete(place, phase_name(step.phase), "step_time", span(at, length),
                      step_args(step, args)));
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (terms[i] <= 0) continue;
    const auto term = static_cast<Term>(i);
    // Overlapped time makes the terms longer than the step; keep them inside it.
    const double part = std::min(terms[i] * share, end - at);
    if (part <= 0) break;
    events.add(complete(place, term_name(term), term_name(term), span(at, part),
                        term_args(step, term, args)));
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
  if (step.rank_imbalance > 0)
    counter("fullest expert rank", fmt::format(R"("times the mean":{:.4g})", step.rank_imbalance));
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

Timeline::Timeline(const ModelSpec& model, const Deployment& deployment, Observer& next,
                   std::size_t max_events)
    : model_(model), deployment_(deployment), next_(next), instances_(deployment.instances.size()) {
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
    step.record.stages = {};
    step.record.terms = nullptr;
    step.record.provenance_ns = nullptr;
    step.stages.assign(record.stages.begin(), record.stages.end());
    if (record.terms != nullptr) step.terms = *record.terms;
    if (record.provenance_ns != nullptr) step.provenance_ns = *record.provenance_ns;
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
    StepMessages messages(model_, info.parallel);
    for (const Step& step : instances_[pid].steps) {
      StepRecord record = step.record;
      record.stages = step.stages;
      record.terms = &step.terms;
      record.provenance_ns = &step.provenance_ns;
      const std::vector<StageArgs> stages = stage_args(record, messages);
      for (std::size_t rank = 0; rank < ranks; ++rank) {
        const auto stage = static_cast<std::size_t>(stage_of(rank, info.parallel));
        add_rank_step(record, {pid, rank}, info.parallel, stages[stage], events);
      }
      add_host_and_counters(record, {pid, ranks}, events);
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
