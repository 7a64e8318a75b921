#include "sim/report/reproduce.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <optional>
#include <utility>

#include "sim/base/reader.h"
#include "sim/report/reproduce_parts.h"

namespace moesim {
namespace {

// --- vllm serve -------------------------------------------------------------------------------

void add_parallel_flags(const Scenario& scenario, const Parallel& parallel,
                        const EngineSpec& engine, Command& out) {
  if (parallel.tp != 1) out.flag("--tensor-parallel-size", parallel.tp);
  if (parallel.pp != 1) out.flag("--pipeline-parallel-size", parallel.pp);
  if (parallel.dp != 1) out.flag("--data-parallel-size", parallel.dp);
  if (parallel.dp > 1 && scenario.model.is_moe())
    out.flag("--all2all-backend", engine.all2all_backend);
  if (engine.moe_backend != "auto") {
    const bool generated = engine.moe_backend == "trtllm_gen";
    const bool deep = engine.moe_backend == "deepgemm";
    out.flag("--moe-backend", generated ? "flashinfer_trtllm"
                              : deep    ? "deep_gemm"
                                        : engine.moe_backend);
  }
  if (!parallel.expert_parallel) return;
  out.flag("--enable-expert-parallel");
  if (engine.enable_dbo) {
    out.flag("--enable-dbo");
    out.flag("--dbo-decode-token-threshold", engine.dbo_decode_tokens);
    out.flag("--dbo-prefill-token-threshold", engine.dbo_prefill_tokens);
  }
  const PlacementSpec& placement = scenario.placement;
  if (placement.name == "round_robin") out.flag("--expert-placement-strategy", "round_robin");
  if (placement.name != "eplb") return;
  out.flag("--enable-eplb");
  if (!placement.rebalances()) {
    out.flag("--eplb-config",
             fmt::format("'{{\"num_redundant_experts\": {}}}'", placement.num_redundant_experts));
    return;
  }
  out.flag("--eplb-config", fmt::format("'{{\"num_redundant_experts\": {}, \"window_size\": {}, "
                                        "\"step_interval\": {}, \"use_async\": {}}}'",
                                        placement.num_redundant_experts, placement.window_size,
                                        placement.step_interval, placement.use_async));
}

/// The sizes are always written out: their defaults depend on the card and the release.
void add_engine_flags(const EngineSpec& engine, Command& out) {
  out.flag("--max-model-len", engine.max_model_len);
  out.flag("--max-num-seqs", engine.max_num_seqs);
  out.flag("--max-num-batched-tokens", engine.max_num_batched_tokens);
  out.flag("--gpu-memory-utilization", number(engine.gpu_memory_utilization));
  if (engine.block_size != EngineSpec().block_size) out.flag("--block-size", engine.block_size);
  if (!engine.enable_prefix_caching) out.flag("--no-enable-prefix-caching");
  if (!engine.enable_chunked_prefill) out.flag("--no-enable-chunked-prefill");
  if (engine.long_prefill_token_threshold != 0)
    out.flag("--long-prefill-token-threshold", engine.long_prefill_token_threshold);
  if (engine.priority_scheduling) out.flag("--scheduling-policy", "priority");
  const EngineProfile usual = engine_profile(engine.backend, engine.backend_version).profile;
  if (engine.async_scheduling != usual.async_scheduling)
    out.flag(engine.async_scheduling ? "--async-scheduling" : "--no-async-scheduling");
  if (engine.num_gpu_blocks_override)
    out.flag("--num-gpu-blocks-override", *engine.num_gpu_blocks_override);
  if (engine.enforce_eager) {
    out.flag("--enforce-eager");
  } else if (engine.cudagraph_mode != "NONE" &&
             engine.cudagraph_capture_sizes !=
                 default_capture_sizes(engine.profile.graph_sizes_rule, engine.max_num_seqs,
                                       engine.max_num_batched_tokens)) {
    out.flag("--cudagraph-capture-sizes",
             fmt::format("{}", fmt::join(engine.cudagraph_capture_sizes, " ")));
  }
  if (!engine.cudagraph_mode.empty() && engine.cudagraph_mode != usual_cudagraph_mode(usual))
    out.flag("--compilation-config",
             fmt::format("'{{\"cudagraph_mode\": \"{}\"}}'", engine.cudagraph_mode));
}

void add_lora_flags(const LoraSpec& lora, Command& out) {
  if (lora.adapters == 0) return;
  out.flag("--enable-lora");
  out.flag("--max-loras", lora.adapters);
  out.flag("--max-lora-rank", lora.rank);
}

/// Flags for a precision the scenario asks for; a format vLLM cannot make while loading needs a
/// checkpoint stored in it, which `notes` says.
void add_precision_flags(const Scenario& scenario, const std::string& backend, Command& out,
                         std::vector<std::string>& notes) {
  const Document document = Document::parse(scenario.resolved_json, "scenario");
  const bool flags = backend != "trtllm";  // trtllm-serve takes what the checkpoint is stored in
  if (scenario.model.precisions.kv_cache == NumberFormat::kFp8) {
    if (flags) out.flag("--kv-cache-dtype", backend == "sglang" ? "fp8_e4m3" : "fp8");
    if (!flags) notes.emplace_back("# and in kv_cache_config: dtype: fp8");
  }
  for (const char* key : {"precision.weights", "precision.experts"}) {
    const std::optional<std::string> format = document.get(key);
    if (!format || *format == "auto" || *format == "null") continue;
    if (flags && *format == "bf16") {
      out.flag("--dtype", "bfloat16");
    } else if (flags && *format == "fp16") {
      out.flag("--dtype", "float16");
    } else if (flags && *format == "fp8" && std::string(key) == "precision.weights") {
      out.flag("--quantization", "fp8");
    } else {
      notes.push_back(fmt::format("# {}: {} needs a checkpoint of {} stored in that format", key,
                                  *format, scenario.model.id));
    }
  }
}

Command launch_command(const Scenario& scenario, const InstanceSpec& spec,
                       std::vector<std::string>& notes) {
  const bool planned =
      scenario.placement.name == "eplb" && scenario.placement.init_expert_location != "trivial";
  if (planned && spec.parallel.expert_parallel) {
    notes.emplace_back(spec.engine.backend == "sglang"
                           ? "# FILE: counts of a recorded expert distribution"
                           : "# experts start where a plan puts them: the engine makes it with its "
                             "first rebalance");
  }
  if (spec.engine.backend == "sglang") return sglang_launch(scenario, spec);
  if (spec.engine.backend == "trtllm") return trtllm_launch(scenario, spec, notes);
  Command command(fmt::format("vllm serve {}", word(scenario.model.id)));
  add_parallel_flags(scenario, spec.parallel, spec.engine, command);
  add_engine_flags(spec.engine, command);
  return command;
}

std::vector<std::string> launch_commands(const RunView& view) {
  std::vector<std::string> lines;
  const Scenario& scenario = view.scenario;
  int engines = 0;
  for (const InstanceSpec& spec : scenario.instances) {
    if (spec.engine.backend == "static_batch") continue;
    std::vector<std::string> notes;
    std::optional<Command> command;
    if (scenario.offload && scenario.offload->on_cpu()) {
      command = llama_launch(scenario, spec, notes);
    } else {
      command = launch_command(scenario, spec, notes);
      add_precision_flags(scenario, spec.engine.backend, *command, notes);
      if (spec.engine.backend == "vllm") add_lora_flags(scenario.lora, *command);
    }
    if (command && spec.count > 1)
      notes.push_back(
          fmt::format("# {} engines like the next, each on GPUs of its own", spec.count));
    lines.insert(lines.end(), notes.begin(), notes.end());
    if (!command) continue;
    lines.push_back(command->text());
    engines += spec.count;
  }
  if (engines > 1) {
    lines.push_back(fmt::format("# the engines stand behind a {} router; point the benchmark at it",
                                scenario.request_router.name));
  }
  return lines;
}

// --- the benchmark ---------------------------------------------------------------------------

/// A length as vLLM's `random` dataset draws it: uniform in mean * (1 -+ ratio), or nothing if it
/// cannot.
struct RandomLength {
  double mean = 0, ratio = 0;
};
std::optional<RandomLength> random_length(const Distribution& lengths) {
  if (lengths.kind == Distribution::Kind::kFixed) return RandomLength{lengths.a, 0};
  if (lengths.kind != Distribution::Kind::kUniform) return std::nullopt;
  const double mean = (lengths.a + lengths.b) / 2;
  return RandomLength{mean, mean > 0 ? (lengths.b - lengths.a) / (2 * mean) : 0};
}

enum class Tool { kVllm, kSglang, kTrtllm };

double mean_tokens(const std::vector<std::uint32_t>& tokens) {
  double sum = 0;
  for (const std::uint32_t count : tokens) sum += count;
  return tokens.empty() ? 0 : std::round(sum / static_cast<double>(tokens.size()));
}

/// Synthetic lengths: exact if fixed or uniform with one ratio, else the means, and a note.
void add_random_dataset(const RunView& view, Tool tool, Command& out,
                        std::vector<std::string>& notes) {
  const SyntheticSpec& synthetic = view.scenario.workload.synthetic;
  const std::optional<RandomLength> input = random_length(synthetic.input_tokens);
  const std::optional<RandomLength> output = random_length(synthetic.output_tokens);
  out.flag("--dataset-name", "random");
  if (input && output && std::abs(input->ratio - output->ratio) < 1e-9) {
    const double longest = tool == Tool::kSglang ? 1 + input->ratio : 1;
    out.flag("--random-input-len", number(input->mean * longest));
    out.flag("--random-output-len", number(output->mean * longest));
    if (tool == Tool::kSglang) {
      out.flag("--random-range-ratio", number((1 - input->ratio) / longest));
    } else if (input->ratio > 0) {
      out.flag("--random-range-ratio", number(input->ratio));
    }
  } else {
    out.flag("--random-input-len", number(mean_tokens(view.workload.prompt_tokens)));
    out.flag("--random-output-len", number(mean_tokens(view.workload.output_tokens)));
    if (tool == Tool::kSglang) out.flag("--random-range-ratio", 1);
    notes.emplace_back(
        "# the random dataset has fixed or uniform lengths: only the means agree; requests.jsonl "
        "(moesim run --save-dir DIR --per-request) has the drawn ones");
  }
  if (synthetic.shared_prefix_tokens > 0 && tool == Tool::kSglang) {
    notes.emplace_back(
        "# this dataset has no common prefix: the prompts are shorter by it and share nothing");
  } else if (synthetic.shared_prefix_tokens > 0) {
    out.flag("--random-prefix-len", synthetic.shared_prefix_tokens);
  }
  if (!view.workload.predecessor.empty())
    notes.emplace_back(
        "# sessions of several turns are sent as single requests by this benchmark, at the mean "
        "rate of all turns; none finds its history cached");
}

/// A recorded trace: vLLM's BurstGPT reader takes the lengths of any CSV in that form.
void add_trace_dataset(const RunView& view, Tool tool, Command& out,
                       std::vector<std::string>& notes) {
  if (tool == Tool::kSglang) {
    notes.emplace_back(view.workload.chain.empty()
                           ? "# this benchmark reads no trace of lengths: only the means agree"
                           : "# this benchmark reads no trace of lengths: only the means agree, "
                             "and no prompt shares a prefix");
    out.flag("--dataset-name", "random");
    out.flag("--random-input-len", number(mean_tokens(view.workload.prompt_tokens)));
    out.flag("--random-output-len", number(mean_tokens(view.workload.output_tokens)));
    out.flag("--random-range-ratio", 1);
    return;
  }
  if (!view.workload.chain.empty()) {
    notes.emplace_back(
        "# the prefixes that prompts of the trace share are lost: no prompt of this benchmark "
        "shares anything, so compare with workload.trace.blocks: none");
  }
  const std::string stem = view.scenario.workload.trace->path.filename().stem().stem().string();
  notes.push_back(
      fmt::format("# {0}.burstgpt.csv has to be made of the trace: a line Timestamp,Model,Request "
                  "tokens,Response tokens,Total tokens,Log Type, then a line such as "
                  "0.5,GPT-4,100,20,120,API log a request; the benchmark draws arrival times of "
                  "its own at the mean rate",
                  stem));
  out.flag("--dataset-name", "burstgpt");
  out.flag("--dataset-path", word(stem + ".burstgpt.csv"));
}

double mean_rate(const Workload& workload) {
  if (workload.arrival_ns.size() < 2) return 0;
  const double span_s =
      static_cast<double>(workload.arrival_ns.back() - workload.arrival_ns.front()) * 1e-9;
  return span_s > 0 ? static_cast<double>(workload.arrival_ns.size() - 1) / span_s : 0;
}

/// Requests a second of a synthetic load. Turns of sessions come when the one before is answered:
/// their rate is that of the run.
double synthetic_rate(const RunView& view) {
  const double asked = view.scenario.workload.arrival.request_rate;
  if (view.workload.predecessor.empty()) return asked;
  std::vector<SimTime> sent;
  std::ranges::copy_if(view.requests.arrival, std::back_inserter(sent),
                       [](SimTime time) { return time != kNever; });
  if (sent.size() < 2) return asked;
  const auto [first, last] = std::ranges::minmax(sent);
  if (first == last) return asked;
  return static_cast<double>(sent.size() - 1) / (static_cast<double>(last - first) * 1e-9);
}

/// Requests that were sent: fewer than there are if a run is cut off.
std::size_t requests_sent(const RunView& view) {
  if (!view.scenario.workload.duration_s) return view.workload.size();
  return view.workload.size() -
         static_cast<std::size_t>(std::ranges::count(view.requests.arrival, kNever));
}

void add_load_flags(const RunView& view, Tool tool, Command& out, std::vector<std::string>& notes) {
  const ArrivalSpec& arrival = view.scenario.workload.arrival;
  if (view.scenario.workload.duration_s) {
    notes.push_back(fmt::format("# the run ends after {} s here; the benchmark waits for the last",
                                number(*view.scenario.workload.duration_s)));
  }
  if (view.scenario.workload.warmup_s > 0) {
    notes.push_back(
        fmt::format("# requests of the first {} s do not count here; the benchmark counts all",
                    number(view.scenario.workload.warmup_s)));
  }
  const bool trace = view.scenario.workload.trace.has_value();
  const std::string& kind = arrival.policy.name;
  out.flag("--num-prompts", requests_sent(view));
  const double rate = trace ? mean_rate(view.workload) : synthetic_rate(view);
  const bool at_once = !trace && (kind == "closed_loop" || kind == "all_at_once");
  out.flag("--request-rate", at_once || rate <= 0 || std::isinf(rate) ? "inf" : number(rate));
  const bool poisson = trace || at_once || kind == "poisson";
  if (tool == Tool::kSglang && !poisson) {
    notes.push_back(fmt::format("# arrivals are Poisson in this benchmark, {} here", kind));
  } else if (!trace && kind == "gamma" && arrival.burstiness != 1) {
    out.flag("--burstiness", number(arrival.burstiness));
  } else if (!trace && kind == "constant") {
    // A gamma process of very large shape has constant gaps.
    out.flag("--burstiness", "1000000");
  }
  if (view.workload.max_concurrency > 0)
    out.flag("--max-concurrency", view.workload.max_concurrency);
}

void add_goodput(const SloSpec& slo, Command& out) {
  if (!slo.ttft_ms && !slo.tpot_ms && !slo.e2el_ms) return;
  out.flag("--goodput");
  if (slo.ttft_ms) out.flag(fmt::format("ttft:{:.6g}", *slo.ttft_ms).c_str());
  if (slo.tpot_ms) out.flag(fmt::format("tpot:{:.6g}", *slo.tpot_ms).c_str());
  if (slo.e2el_ms) out.flag(fmt::format("e2el:{:.6g}", *slo.e2el_ms).c_str());
}

Tool tool_of(const Scenario& scenario) {
  const std::string& backend = scenario.instances.front().engine.backend;
  if (backend == "sglang") return Tool::kSglang;
  return backend == "trtllm" ? Tool::kTrtllm : Tool::kVllm;
}

std::string bench_program(Tool tool) {
  switch (tool) {
    case Tool::kSglang:
      return "python -m sglang.bench_serving --backend sglang";
    case Tool::kTrtllm:
      return "python -m tensorrt_llm.serve.scripts.benchmark_serving --backend openai";
    case Tool::kVllm:
      break;
  }
  return "vllm bench serve";
}

std::vector<std::string> bench_commands(const RunView& view) {
  const Scenario& scenario = view.scenario;
  const Tool tool = tool_of(scenario);
  std::vector<std::string> lines;
  Command command(fmt::format("{} --model {}", bench_program(tool), word(scenario.model.id)));
  if (scenario.workload.trace) {
    add_trace_dataset(view, tool, command, lines);
  } else {
    add_random_dataset(view, tool, command, lines);
  }
  add_load_flags(view, tool, command, lines);
  const bool ignore_eos = !scenario.workload.finish_eos;
  if (tool != Tool::kSglang && ignore_eos) command.flag("--ignore-eos");
  if (tool == Tool::kSglang && !ignore_eos) command.flag("--disable-ignore-eos");
  if (tool == Tool::kTrtllm && !scenario.workload.trace) command.flag("--random-ids");
  command.flag("--seed", scenario.seed);
  if (tool != Tool::kSglang) {
    command.flag("--percentile-metrics", "ttft,tpot,itl,e2el");
    command.flag("--metric-percentiles", "50,90,95,99");
    add_goodput(scenario.slo, command);
  }
  lines.push_back(command.text());
  return lines;
}

}  // namespace

std::vector<std::string> reproduce_commands(const RunView& view) {
  std::vector<std::string> lines = launch_commands(view);
  const bool launched =
      std::ranges::any_of(lines, [](const std::string& line) { return !line.starts_with("#"); });
  if (!launched) return lines;
  for (std::string& line : bench_commands(view)) lines.push_back(std::move(line));
  return lines;
}

}  // namespace moesim
