#include <cmath>
#include <fmt/format.h>
#include <initializer_list>
#include <limits>
#include <utility>

#include "scenarios/arrivals.h"
#include "scenarios/load_parts.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

constexpr Range kTokens{.min = 1, .max = 1e7};   // a prompt above 10 M tokens has no model
constexpr Range kSeconds{.min = 0, .max = 1e8};  // three years
constexpr Range kRate{.min = 1e-6, .max = 1e6};

TraceSpec read_trace(Reader& workload, LoadContext& context) {
  TraceSpec trace;
  if (!workload.is_map("trace")) {
    trace.path = context.file(workload, "trace");
    return trace;
  }
  Reader in = workload.map("trace");
  trace.path = context.file(in, "path");
  if (in.has("blocks")) {
    const bool none = in.is_text("blocks") && in.text("blocks") == "none";
    trace.ignore_blocks = none;
    if (!none) {
      trace.blocks = context.file(in, "blocks");
    }
  }
  trace.block_tokens_given = in.has("block_tokens");
  trace.block_tokens = static_cast<int>(in.integer_or("block_tokens", 512, {.min = 1, .max = 1e6}));
  trace.start_s = in.number_or("start_s", 0, kSeconds);
  trace.end_s = in.optional_number("end_s", kSeconds);
  trace.rate_scale = in.number_or("rate_scale", 1, {.min = 1e-4, .max = 1e4});
  if (trace.end_s && *trace.end_s <= trace.start_s && !in.faulty("start_s")) {
    in.fail("end_s", fmt::format("{:g} is not after start_s, {:g}", *trace.end_s, trace.start_s),
            "write a later end_s");
  }
  if (trace.ignore_blocks && in.has("block_tokens")) {
    in.fail("block_tokens", "has no effect with blocks: none", "leave it out");
  }
  in.reject_unknown_keys();
  return trace;
}

/// "inf" as vLLM's benchmark spells "send everything at once". Of an unknown kind (empty) a rate is
/// neither needed nor useless.
double read_rate(Reader& in, const std::string& kind) {
  const bool needs_rate = kind == "poisson" || kind == "gamma" || kind == "constant";
  const std::string key = "request_rate";
  if (!needs_rate && !kind.empty() && in.has(key))
    in.fail(key, "has no effect with kind: " + kind, "leave it out, or write kind: poisson");
  if (!needs_rate && (!kind.empty() || !in.has(key))) return 0;
  const bool infinite = in.is_text(key) && in.text(key) == "inf";
  return infinite ? std::numeric_limits<double>::infinity() : in.number(key, kRate);
}

/// What a flag may have set; what is absent has no value to name.
void resolve_given(Reader& in, std::initializer_list<const char*> keys, LoadContext& context) {
  for (const char* key : keys) {
    if (in.has(key)) context.resolve(in.path(key), in.raw(key), context.source(in.where(key)));
  }
}

ArrivalSpec read_arrival(Reader in, LoadContext& context) {
  ArrivalSpec arrival;
  const std::string kind = in.choice_or("kind", Registry<Arrivals>::names(), "");
  arrival.policy = {.name = kind, .params = "{}", .where = in.where("kind")};
  if (!in.has("kind")) {
    in.fail("kind", "required key is missing",
            "write poisson, gamma, constant, closed_loop or all_at_once");
  }
  resolve_given(in, {"kind", "request_rate", "burstiness", "max_concurrency"}, context);
  arrival.request_rate = read_rate(in, kind);
  arrival.burstiness = in.number_or("burstiness", 1, {.min = 0.01, .max = 1000});
  if (kind != "gamma" && !kind.empty() && arrival.burstiness != 1) {
    in.fail("burstiness", "has no effect with kind: " + kind, "write kind: gamma, or leave it out");
  }
  constexpr Range kSlots{.min = 1, .max = 1e6};
  arrival.max_concurrency =
      static_cast<int>(kind == "closed_loop" ? in.integer("max_concurrency", kSlots)
                                             : in.integer_or("max_concurrency", 0, kSlots));
  in.reject_unknown_keys();
  return arrival;
}

bool is_whole(double value) {
  return value == std::floor(value);
}

Distribution read_tokens(Reader& in, const std::string& key, LoadContext& context) {
  if (!in.has(key))
    in.fail(key, "required key is missing", "write a number of tokens, or a distribution");
  const bool whole = !in.is_number(key) || is_whole(in.number(key, kTokens));
  if (!whole)
    in.fail(key, fmt::format("{:g} is not a whole number of tokens", in.number(key, kTokens)),
            "write a whole number, or a distribution with this mean");
  return read_distribution(in, key, kTokens, context);
}

SyntheticSpec read_synthetic(Reader in, LoadContext& context) {
  SyntheticSpec synthetic;
  resolve_given(in, {"num_prompts"}, context);
  synthetic.num_prompts = in.integer("num_prompts", {.min = 1, .max = 1e7});
  synthetic.input_tokens = read_tokens(in, "input_tokens", context);
  synthetic.output_tokens = read_tokens(in, "output_tokens", context);
  synthetic.shared_prefix_tokens =
      static_cast<int>(in.integer_or("shared_prefix_tokens", 0, {.min = 0, .max = kTokens.max}));
  if (in.has("turns"))
    synthetic.turns = read_distribution(in, "turns", {.min = 1, .max = 1000}, context);
  if (in.has("think_time_s"))
    synthetic.think_time_s = read_distribution(in, "think_time_s", kSeconds, context);
  const bool one_turn =
      synthetic.turns.kind == Distribution::Kind::kFixed && synthetic.turns.a < 1.5;
  const bool no_pause =
      synthetic.think_time_s.kind == Distribution::Kind::kFixed && synthetic.think_time_s.a == 0;
  if (one_turn && !no_pause && !in.faulty("turns")) {
    in.fail("think_time_s", "has no effect with turns: 1", "write turns: N, or leave it out");
  }
  in.reject_unknown_keys();
  return synthetic;
}

/// Either a trace, or arrival and synthetic.
void read_source(Reader& in, WorkloadSpec& workload, LoadContext& context) {
  const bool own = in.given("arrival") || in.given("synthetic");
  if (in.given("trace")) {
    workload.trace = read_trace(in, context);
    if (own) {
      in.fail(in.has("arrival") ? "arrival" : "synthetic", "a recorded trace is given too",
              "keep either trace, or arrival and synthetic");
    }
    if (!own) return;
  } else if (!own) {
    in.fail("", "says no requests", "write trace: FILE, or arrival and synthetic");
    return;
  }
  if (!workload.trace || in.has("arrival"))
    workload.arrival = read_arrival(in.map("arrival"), context);
  if (!workload.trace || in.has("synthetic"))
    workload.synthetic = read_synthetic(in.map("synthetic"), context);
}

}  // namespace

WorkloadSpec read_workload(Reader in, LoadContext& context) {
  WorkloadSpec workload;
  read_source(in, workload, context);
  workload.warmup_s = in.number_or("warmup_s", 0, kSeconds);
  workload.warmup_where = in.where("warmup_s");
  workload.duration_s = in.optional_number("duration_s", {.min = 1e-3, .max = kSeconds.max});
  workload.duration_where = in.where("duration_s");
  workload.finish_eos = in.choice_or("finish", {"length", "eos"}, "length") == "eos";
  in.reject_unknown_keys();
  return workload;
}

}  // namespace moesim
