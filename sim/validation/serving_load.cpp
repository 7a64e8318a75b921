#include "sim/validation/serving_load.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fmt/format.h>

namespace moesim {
namespace {

bool says(const std::string& text, const char* words) {
  return text.find(words) != std::string::npos;
}

/// The whole number right before or after `words`; 0 if there is none.
int number_before(const std::string& text, const std::string& words) {
  const std::size_t at = text.find(words);
  if (at == std::string::npos) return 0;
  std::size_t begin = at;
  while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') --begin;
  return std::atoi(text.substr(begin, at - begin).c_str());
}
int number_after(const std::string& text, const std::string& words) {
  const std::size_t at = text.find(words);
  return at == std::string::npos ? 0 : std::atoi(text.c_str() + at + words.size());
}

/// "shared_prefix synthetic: 100 system + 466 question tokens ...; only ~100 distinct prompts
/// (10x10) repeat".
std::optional<RepeatedPrompts> repeated_prompts(const std::string& len_dist) {
  const std::size_t open = len_dist.find("distinct prompts (");
  if (!says(len_dist, "shared_prefix") || open == std::string::npos) return std::nullopt;
  const std::string counts = len_dist.substr(open);
  RepeatedPrompts prompts;
  prompts.groups = number_after(counts, "(");
  prompts.prompts_per_group = number_after(counts, "x");
  prompts.system_tokens = number_before(len_dist, " system");
  if (prompts.groups < 1 || prompts.prompts_per_group < 1) return std::nullopt;
  return prompts;
}

/// Nothing, if lengths are as published; else what they were taken for.
std::string assumed_lengths(const ServingRow& row) {
  const bool exact = row.len_dist.starts_with("fixed") || says(row.len_dist, "shared_prefix");
  if (exact || draws_below_nominal(row)) return "";
  return row.len_dist.empty() ? "fixed lengths" : "fixed lengths, the nominal or mean ones";
}

std::string tokens(const ServingRow& row, double nominal) {
  const auto whole = static_cast<long>(std::lround(nominal));
  if (!draws_below_nominal(row)) return fmt::format("{}", whole);
  // The random dataset of vLLM's and InferenceMAX's clients with range ratio 0.8; it draws no empty
  // texts.
  const long least = std::max(1L, static_cast<long>(std::floor(nominal * 0.8)));
  return fmt::format("{{uniform: [{}, {}]}}", least, whole);
}

std::string set_lengths(const ServingRow& row, ScenarioKeys& keys, ServingLoad& load) {
  if (!row.isl && !row.osl) return "request lengths are not published";
  if (!row.isl) return "prompt lengths are not published";
  if (!row.osl) return "output lengths are not published";
  if (*row.isl < 1 || *row.osl < 1) return "lengths below one token";
  load.repeated = repeated_prompts(row.len_dist);
  if (says(row.len_dist, "shared_prefix") && !load.repeated)
    return "the number of distinct prompts is not stated";
  const std::string assumed = assumed_lengths(row);
  if (!assumed.empty()) load.assumed.push_back(assumed);
  keys.set("workload.synthetic.input_tokens", tokens(row, *row.isl));
  keys.set("workload.synthetic.output_tokens", tokens(row, *row.osl));
  return "";
}

void set_count(const ServingRow& row, int otherwise, const std::string& in_words,
               ScenarioKeys& keys, ServingLoad& load) {
  if (row.num_requests && *row.num_requests > 0) {
    load.requests = *row.num_requests;
  } else {
    load.requests = otherwise;
    load.assumed.push_back(fmt::format("{} requests ({})", otherwise, in_words));
  }
  keys.set("workload.synthetic.num_prompts", load.requests);
}

std::string set_closed_loop(const ServingRow& row, ScenarioKeys& keys, ServingLoad& load) {
  if (!row.concurrency || *row.concurrency < 1) return "concurrency is not stated";
  load.together = *row.concurrency;
  keys.set("workload.arrival",
           fmt::format("{{kind: closed_loop, max_concurrency: {}}}", *row.concurrency));
  // InferenceMAX and InferenceX send ten requests a slot; others seldom say.
  constexpr int kPerSlot = 10;
  set_count(row, kPerSlot * *row.concurrency, "10 a slot", keys, load);
  return "";
}

std::string set_all_at_once(const ServingRow& row, ScenarioKeys& keys, ServingLoad& load) {
  load.offline = true;
  keys.set("workload.arrival", "{kind: all_at_once}");
  // Enough that filling and draining the batch weigh little, and as many as the pages that do say.
  constexpr int kOffline = 2000;
  set_count(row, kOffline, "as other offline runs", keys, load);
  return "";
}

std::string set_static_batch(const ServingRow& row, ScenarioKeys& keys, ServingLoad& load) {
  const int batch = row.concurrency.value_or(row.max_batch.value_or(0));
  if (batch < 1) return "batch size is not stated";
  load.together = load.requests = batch;
  keys.set("workload.arrival", "{kind: all_at_once}");
  keys.set("workload.synthetic.num_prompts", batch);
  return "";
}

/// Stages of one run follow each other on a warm prefix cache; the first is "stage 0".
bool follows_a_stage(const ServingRow& row) {
  return number_after(row.notes, "stage ") > 0;
}

/// --num-prompts of vLLM's benchmark_serving.py.
constexpr int kServingBench = 1000;

std::string set_open_loop(const ServingRow& row, const char* kind, ScenarioKeys& keys,
                          ServingLoad& load) {
  if (row.all_at_once) {
    keys.set("workload.arrival", "{kind: all_at_once}");
    set_count(row, kServingBench, "default of vLLM's client", keys, load);
    return "";
  }
  if (!row.request_rate || *row.request_rate <= 0) return "request rate is not stated";
  keys.set("workload.arrival",
           fmt::format("{{kind: {}, request_rate: {:.9g}}}", kind, *row.request_rate));
  // Two minutes, and enough requests for percentiles.
  constexpr double kSeconds = 120;
  constexpr int kLeast = 500;
  const int count = std::max(kLeast, static_cast<int>(std::ceil(*row.request_rate * kSeconds)));
  set_count(row, count, "two minutes, at least 500", keys, load);
  if (!load.repeated || !follows_a_stage(row)) return "";
  // Each prompt once before the stage begins.
  const int distinct = load.repeated->groups * load.repeated->prompts_per_group;
  load.requests += distinct;
  keys.set("workload.synthetic.num_prompts", load.requests);
  keys.set("workload.warmup_s", fmt::format("{:.9g}", distinct / *row.request_rate));
  load.assumed.emplace_back("warm prefix cache");
  return "";
}

void set_burst(int requests, long prompt, int output, ScenarioKeys& keys, ServingLoad& load) {
  load.offline = load.steady = true;
  load.requests = requests;
  keys.set("workload.arrival", "{kind: all_at_once}");
  keys.set("workload.synthetic.num_prompts", requests);
  keys.set("workload.synthetic.input_tokens", prompt);
  keys.set("workload.synthetic.output_tokens", output);
}

/// Full steps of prompts on every GPU.
std::string set_prefill_side(const ServingRow& row, const ServingLayout& layout, ScenarioKeys& keys,
                             ServingLoad& load) {
  constexpr int kSteps = 16;  // the last one, half empty, then weighs little
  if (!row.max_batched_tokens || !row.limits_per_gpu) return "tokens of a step are not stated";
  const long prompt = std::lround(*row.isl);
  const long each = std::max(1L, *row.max_batched_tokens / prompt) * kSteps;
  set_burst(static_cast<int>(each) * layout.data, prompt, 1, keys, load);
  return "";
}

/// A full batch that runs from a little before the stated KV length to as much after it.
std::string set_decode_side(const ServingRow& row, const ServingLayout& layout, ScenarioKeys& keys,
                            ServingLoad& load) {
  constexpr int kOutputs = 100;
  if (!row.max_batch || !row.limits_per_gpu) return "batch size is not stated";
  const long prompt = std::max(1L, std::lround(*row.isl) - kOutputs / 2);
  load.together = *row.max_batch * layout.data;
  load.assumed.push_back(fmt::format("{} outputs around the KV length", kOutputs));
  set_burst(load.together, prompt, kOutputs, keys, load);
  return "";
}

std::string set_one_side(const ServingRow& row, const ServingLayout& layout, ScenarioKeys& keys,
                         ServingLoad& load) {
  const std::string& mode = row.load_mode;
  if (!says(mode, "isolated") && mode != "profile")
    return fmt::format("load '{}' cannot be reproduced", mode);
  if (!row.isl || *row.isl < 1) return "prompt lengths are not published";
  return layout.side == Side::kPrefill ? set_prefill_side(row, layout, keys, load)
                                       : set_decode_side(row, layout, keys, load);
}

std::string set_arrivals(const ServingRow& row, ScenarioKeys& keys, ServingLoad& load) {
  const std::string& mode = row.load_mode;
  if (says(mode, "isolated")) return "only one of prefill and decode was measured, on shared GPUs";
  if (mode.starts_with("closed-loop")) return set_closed_loop(row, keys, load);
  if (mode.starts_with("offline")) return set_all_at_once(row, keys, load);
  if (mode.starts_with("static batch")) return set_static_batch(row, keys, load);
  if (mode.starts_with("Poisson") || mode.starts_with("open-loop Poisson"))
    return set_open_loop(row, "poisson", keys, load);
  if (mode.starts_with("open-loop constant")) return set_open_loop(row, "constant", keys, load);
  if (mode.starts_with("open-loop QPS")) {
    load.assumed.emplace_back("Poisson arrivals");
    return set_open_loop(row, "poisson", keys, load);
  }
  if (mode.empty()) return "load is not stated";
  return fmt::format("load '{}' cannot be reproduced", mode);
}

}  // namespace

bool draws_below_nominal(const ServingRow& row) {
  return says(row.len_dist, "80-100%") || says(row.len_dist, "80-100 %");
}

ServingLoad set_load(const ServingRow& row, const ServingLayout& layout, ScenarioKeys& keys) {
  ServingLoad load;
  if (layout.side != Side::kBoth) {
    load.problem = set_one_side(row, layout, keys, load);
    return load;
  }
  load.problem = set_lengths(row, keys, load);
  if (load.problem.empty()) load.problem = set_arrivals(row, keys, load);
  return load;
}

void repeat_prompts(Workload& workload, const RepeatedPrompts& prompts) {
  const auto groups = static_cast<std::uint32_t>(prompts.groups);
  const std::uint32_t distinct = groups * static_cast<std::uint32_t>(prompts.prompts_per_group);
  workload.chain.clear();
  workload.chain_begin.assign(1, 0);
  for (std::uint32_t r = 0; r < workload.size(); ++r) {
    const std::uint32_t prompt = r % distinct;
    const std::uint32_t length = workload.prompt_tokens[r];
    const auto system = static_cast<std::uint32_t>(prompts.system_tokens);
    if (system > 0 && system < length) workload.chain.push_back({prompt % groups, system});
    workload.chain.push_back({groups + prompt, length});
    workload.chain_begin.push_back(static_cast<std::uint32_t>(workload.chain.size()));
  }
  workload.chain_ids = groups + distinct;
}

}  // namespace moesim
