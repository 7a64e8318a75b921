#include "scenarios/workload.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <iterator>
#include <numeric>
#include <tuple>
#include <utility>

#include "scenarios/arrival_time.h"
#include "scenarios/arrivals.h"
#include "scenarios/distributions.h"
#include "scenarios/request_trace.h"
#include "sim/base/check.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

constexpr std::uint32_t kLongestPrompt =
    1U << 30;  // far beyond any model: dropped as unservable anyway

/// One request before the rows are put in order.
struct Turn {
  std::int64_t arrival_ns = 0;   ///< of a follow-up: think time
  std::int64_t earliest_ns = 0;  ///< if serving took no time at all
  std::uint32_t session = 0;
  std::uint32_t index = 0;  ///< within its session
  std::uint32_t turns = 1;  ///< of its session
  std::uint32_t prompt = 0;
  std::uint32_t output = 0;
  std::uint32_t before = kNoRequest;  ///< position, in drawing order, of the turn before
};

/// Refuses a load whose last request comes too late, `last_ns`.
void check_last_arrival(const WorkloadSpec& spec, std::int64_t last_ns) {
  if (last_ns <= kLastArrivalNs) return;
  throw InputError({{spec.arrival.policy.where, "workload.arrival",
                     fmt::format("the last request would arrive later than {:g} s, 31 years",
                                 static_cast<double>(kLastArrivalNs) / 1e9),
                     "raise request_rate, or ask for fewer requests or shorter think times"}});
}

std::vector<std::int64_t> draw_arrivals(const ArrivalSpec& spec, std::int64_t count,
                                        std::uint64_t seed) {
  const auto* const entry = Registry<Arrivals>::find(spec.policy.name);
  MOESIM_CHECK(entry != nullptr, "the loader accepts registered arrivals only");
  Diagnostics none;
  const Document empty = Document::parse("{}", "");
  Reader params(empty, none);
  Rng rng(seed, "arrivals");
  return entry->make(params)->times(count, spec, rng);
}

/// How many turns each session has; the last one is cut so that they sum to num_prompts.
std::vector<std::uint32_t> draw_sessions(const SyntheticSpec& spec, std::uint64_t seed) {
  Rng rng(seed, "turns");
  const Sampler turns_of(spec.turns);
  std::vector<std::uint32_t> sessions;
  for (std::int64_t left = spec.num_prompts; left > 0;) {
    const std::int64_t turns = std::min<std::int64_t>(left, turns_of.count(rng));
    sessions.push_back(static_cast<std::uint32_t>(turns));
    left -= turns;
  }
  return sessions;
}

/// All turns of all sessions, session by session, so that a session's lengths do not depend on the
/// others'.
std::vector<Turn> draw_turns(const WorkloadSpec& spec, const std::vector<std::uint32_t>& sessions,
                             std::uint64_t seed) {
  const SyntheticSpec& synthetic = spec.synthetic;
  const std::vector<std::int64_t> arrivals =
      draw_arrivals(spec.arrival, static_cast<std::int64_t>(sessions.size()), seed);
  Rng input(seed, "input_tokens");
  Rng output(seed, "output_tokens");
  Rng think(seed, "think_time");
  const Sampler input_tokens(synthetic.input_tokens);
  const Sampler output_tokens(synthetic.output_tokens);
  const Sampler think_time_s(synthetic.think_time_s);
  std::vector<Turn> turns;
  turns.reserve(static_cast<std::size_t>(synthetic.num_prompts));
  for (std::size_t s = 0; s < sessions.size(); ++s) {
    std::int64_t earliest = arrivals[s];
    auto context = static_cast<std::uint64_t>(synthetic.shared_prefix_tokens);
    for (std::uint32_t t = 0; t < sessions[s]; ++t) {
      Turn turn{.arrival_ns = arrivals[s],
                .session = static_cast<std::uint32_t>(s),
                .index = t,
                .turns = sessions[s]};
      if (t > 0) {
        turn.arrival_ns = arrival_ns(think_time_s.value(think));
        turn.before = static_cast<std::uint32_t>(turns.size() - 1);
        earliest += turn.arrival_ns;
        check_last_arrival(spec, earliest);
      }
      turn.earliest_ns = earliest;
      context += input_tokens.count(input);
      turn.prompt = static_cast<std::uint32_t>(std::min<std::uint64_t>(context, kLongestPrompt));
      turn.output = output_tokens.count(output);
      context += turn.output;
      turns.push_back(turn);
    }
  }
  return turns;
}

/// Positions in row order: by the earliest time a turn can come, then first turns first, then by
/// session. A turn comes after the one before it, because its earliest time is no smaller and its
/// index is larger.
std::vector<std::uint32_t> row_order(const std::vector<Turn>& turns) {
  std::vector<std::uint32_t> order(turns.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, {}, [&](std::uint32_t i) {
    const Turn& turn = turns[i];
    return std::tuple(turn.earliest_ns, turn.index, turn.session);
  });
  return order;
}

/// Identities: one for the shared prefix, one for each session that has a later turn to use it
/// again.
class Chains {
 public:
  Chains(const SyntheticSpec& spec, const std::vector<std::uint32_t>& sessions, Workload& workload)
      : workload_(workload), shared_(static_cast<std::uint32_t>(spec.shared_prefix_tokens)) {
    std::uint32_t next = shared_ > 0 ? 1 : 0;
    for (const std::uint32_t turns : sessions) {
      ids_.push_back(next);
      if (turns > 1) ++next;
    }
    workload_.chain_ids = next;
    any_ = next > 0;
    if (any_) workload_.chain_begin.push_back(0);
  }
  void append(const Turn& turn) {
    if (!any_) return;
    if (shared_ > 0) workload_.chain.push_back({0, shared_});
    if (turn.turns > 1) workload_.chain.push_back({ids_[turn.session], turn.prompt});
    workload_.chain_begin.push_back(static_cast<std::uint32_t>(workload_.chain.size()));
  }

 private:
  Workload& workload_;
  std::uint32_t shared_;
  std::vector<std::uint32_t> ids_;  ///< by session; unused for a session of one turn
  bool any_ = false;
};

std::string describe(const WorkloadSpec& spec) {
  const ArrivalSpec& arrival = spec.arrival;
  std::string rate;
  if (arrival.request_rate > 0) rate = fmt::format(" at {:g}/s", arrival.request_rate);
  if (arrival.max_concurrency > 0)
    rate += fmt::format(", at most {} at once", arrival.max_concurrency);
  return fmt::format("{} requests, {}{}; prompts {}; outputs {}", spec.synthetic.num_prompts,
                     arrival.policy.name, rate, to_text(spec.synthetic.input_tokens),
                     to_text(spec.synthetic.output_tokens));
}

/// Requests that have nothing to do with each other.
Workload draw_requests(const WorkloadSpec& spec, std::uint64_t seed) {
  const SyntheticSpec& synthetic = spec.synthetic;
  const auto count = static_cast<std::size_t>(synthetic.num_prompts);
  const auto shared = static_cast<std::uint32_t>(synthetic.shared_prefix_tokens);
  Workload workload;
  workload.arrival_ns = draw_arrivals(spec.arrival, synthetic.num_prompts, seed);
  workload.prompt_tokens.resize(count);
  workload.output_tokens.resize(count);
  Rng input(seed, "input_tokens");
  Rng output(seed, "output_tokens");
  const Sampler input_tokens(synthetic.input_tokens);
  const Sampler output_tokens(synthetic.output_tokens);
  for (std::uint32_t& tokens : workload.prompt_tokens) {
    tokens = std::min(shared + input_tokens.count(input), kLongestPrompt);
  }
  for (std::uint32_t& tokens : workload.output_tokens) tokens = output_tokens.count(output);
  if (shared == 0) return workload;
  workload.chain_ids = 1;
  workload.chain.assign(count, {0, shared});
  workload.chain_begin.resize(count + 1);
  std::iota(workload.chain_begin.begin(), workload.chain_begin.end(), 0U);
  return workload;
}

/// Requests of which some follow others.
Workload draw_conversations(const WorkloadSpec& spec, std::uint64_t seed) {
  const std::vector<std::uint32_t> sessions = draw_sessions(spec.synthetic, seed);
  const std::vector<Turn> turns = draw_turns(spec, sessions, seed);
  const std::vector<std::uint32_t> order = row_order(turns);
  Workload workload;
  std::vector<std::uint32_t> row_of(turns.size());
  Chains chains(spec.synthetic, sessions, workload);
  for (std::size_t row = 0; row < order.size(); ++row) {
    const Turn& turn = turns[order[row]];
    workload.arrival_ns.push_back(turn.arrival_ns);
    workload.prompt_tokens.push_back(turn.prompt);
    workload.output_tokens.push_back(turn.output);
    chains.append(turn);
    row_of[order[row]] = static_cast<std::uint32_t>(row);
    workload.session.push_back(turn.session);
    workload.predecessor.push_back(turn.before == kNoRequest ? kNoRequest : row_of[turn.before]);
  }
  workload.output_continues_chain = true;
  return workload;
}

Workload draw_workload(const WorkloadSpec& spec, std::uint64_t seed) {
  const Distribution& turns = spec.synthetic.turns;
  const bool alone = turns.kind == Distribution::Kind::kFixed && turns.a < 1.5;
  Workload workload = alone ? draw_requests(spec, seed) : draw_conversations(spec, seed);
  if (!workload.arrival_ns.empty()) check_last_arrival(spec, std::ranges::max(workload.arrival_ns));
  workload.closed_loop = spec.arrival.policy.name == "closed_loop";
  workload.max_concurrency = spec.arrival.max_concurrency;
  workload.description = describe(spec);
  return workload;
}

}  // namespace

std::optional<std::string> session_name(const Workload& workload, std::size_t row) {
  if (workload.session.empty() || workload.session[row] == kNoSession) return std::nullopt;
  const std::uint32_t index = workload.session[row];
  return workload.session_names.empty() ? std::to_string(index) : workload.session_names[index];
}

std::vector<std::int64_t> earliest_arrivals(const Workload& workload) {
  std::vector<std::int64_t> arrivals = workload.arrival_ns;
  for (std::size_t row = 0; row < workload.predecessor.size(); ++row) {
    const std::uint32_t before = workload.predecessor[row];
    if (before != kNoRequest) arrivals[row] += arrivals[before];
  }
  return arrivals;
}

void check_window(const WorkloadSpec& spec, const Workload& workload) {
  const bool planned = !workload.closed_loop && workload.max_concurrency == 0;
  if (workload.size() == 0 || workload.closed_loop || (spec.warmup_s <= 0 && !spec.duration_s))
    return;
  std::vector<std::int64_t> arrivals = earliest_arrivals(workload);
  std::ranges::sort(arrivals);
  const std::int64_t end = spec.duration_s ? arrival_ns(*spec.duration_s) : arrivals.back();
  const auto seconds = [](std::int64_t ns) { return static_cast<double>(ns) / 1e9; };
  if (arrivals.front() >= end && spec.duration_s) {
    throw InputError({{spec.duration_where, "workload.duration_s",
                       fmt::format("{:g} s, and the first request arrives at {:g} s",
                                   *spec.duration_s, seconds(arrivals.front())),
                       "write a longer duration_s, or requests that come earlier"}});
  }
  // A cap sends later than planned, and what is planned for time 0 says nothing.
  const std::int64_t last = *std::prev(std::ranges::upper_bound(arrivals, end));
  const bool timed = arrivals.back() > 0 || planned;
  if (spec.warmup_s <= 0 || !timed || arrival_ns(spec.warmup_s) <= last) return;
  throw InputError(
      {{spec.warmup_where, "workload.warmup_s",
        fmt::format("{:g} s of warm-up, and the last request{} arrives at {:g} s", spec.warmup_s,
                    last < arrivals.back() ? " before duration_s" : "", seconds(last)),
        "write a shorter warm-up, or more requests"}});
}

Workload make_workload(const WorkloadSpec& spec, std::uint64_t seed) {
  Workload workload = spec.trace ? read_request_trace(*spec.trace) : draw_workload(spec, seed);
  check_window(spec, workload);
  return workload;
}

}  // namespace moesim
