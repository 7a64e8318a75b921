#include "scenarios/load.h"

#include <cmath>
#include <doctest/doctest.h>
#include <map>
#include <optional>

#include "sim/base/files.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

const char* const kTrace =
    "request_id,arrival_s,prompt_tokens,output_tokens\n"
    "0,0.0,100,10\n"
    "1,1.0,200,20\n";

/// Value and source of a resolved option, "value (source)".
std::string resolved(const Scenario& scenario, const std::string& key) {
  for (const ResolvedOption& option : scenario.resolved) {
    if (option.key == key) return option.value + " (" + option.source + ")";
  }
  return "absent";
}

const EngineSpec& engine_of(const Scenario& scenario) {
  return scenario.instances.at(0).engine;
}

TEST_CASE("the small scenario resolves to what vLLM would do on two A100") {
  const Scenario scenario = load_text(small_scenario());
  CHECK(scenario.name == "test");
  CHECK(scenario.seed == 1);
  CHECK(scenario.model.id == "mistralai/Mixtral-8x7B-v0.1");
  CHECK(scenario.cluster.total_gpus() == 2);
  CHECK(scenario.instances.size() == 1);
  CHECK(scenario.instances[0].node == 0);
  const EngineSpec& engine = engine_of(scenario);
  CHECK(engine.max_model_len == 32768);
  CHECK(engine.max_num_batched_tokens == 2048);
  CHECK(engine.gpu_memory_utilization == 0.92);
  CHECK(engine.cudagraph_capture_sizes.size() == 51);
  REQUIRE(scenario.kernels.size() == 1);
  CHECK(scenario.kernels[0].name == "auto");
  CHECK_FALSE(scenario.kernels[0].roofline);
  CHECK(scenario.workload.arrival.policy.name == "poisson");
  CHECK(scenario.warnings.empty());
}

TEST_CASE("every resolved value names its source") {
  const Scenario scenario = load_text(
      small_scenario(),
      {{"engine.block_size", "32"}, {"deployment.instances.0.engine.max_num_seqs", "64"}});
  CHECK(resolved(scenario, "model") == "mistralai/Mixtral-8x7B-v0.1 (file)");
  CHECK(resolved(scenario, "seed") == "1 (file)");
  CHECK(resolved(scenario, "engine.block_size") == "32 (cli)");
  CHECK(resolved(scenario, "engine.max_num_seqs") == "64 (cli)");
  CHECK(resolved(scenario, "engine.max_model_len") == "32768 (config.json)");
  CHECK(resolved(scenario, "engine.backend_version") == "0.21 (default)");
  CHECK(resolved(scenario, "precision.weights") == "bf16 (config.json)");
  CHECK(resolved(scenario, "precision.kv_cache") == "bf16 (config.json)");
  CHECK(resolved(scenario, "deployment.instances.0.tensor_parallel_size") == "2 (file)");
  CHECK(resolved(scenario, "workload.arrival.request_rate").ends_with(" (file)"));
  CHECK(resolved(scenario, "routing.kind") == "uniform (default)");
  CHECK(resolved(scenario, "placement") == "linear (default)");
}

TEST_CASE("defaults follow the card, the release and what is given") {
  const Scenario h100 = load_text(with_line(7, "    - {profile: h100_sxm, gpus: 2}"));
  CHECK(engine_of(h100).max_num_batched_tokens == 8192);
  const Scenario old = load_text(with_line(9, "  backend_version: 0.10"));
  CHECK(engine_of(old).backend_version == "0.10");
  CHECK(engine_of(old).gpu_memory_utilization == 0.90);
  CHECK_FALSE(engine_of(old).async_scheduling);
  CHECK(engine_of(old).cudagraph_capture_sizes.size() == 67);
  const Scenario whole = load_text(with_line(9, "  enable_chunked_prefill: false"));
  CHECK(engine_of(whole).max_num_batched_tokens == 32768);
  const Scenario tiny = load_text(with_line(9, "  max_num_seqs: 1\n  max_model_len: 512"),
                                  {{"workload.synthetic.input_tokens", "100"}});
  CHECK(engine_of(tiny).max_num_batched_tokens == 512);
  const Scenario few = load_text(with_line(9, "  max_num_batched_tokens: 100"));
  CHECK(engine_of(few).max_num_seqs == 100);
  const Scenario eager = load_text(with_line(9, "  enforce_eager: true"));
  CHECK(engine_of(eager).cudagraph_capture_sizes.empty());
  CHECK(engine_of(eager).profile.memory.graph_sizes == 0);
  // It turns the compiler off, too, so that an operator called costs Python more.
  const double compiled = engine_of(few).profile.launch.eager_call_us;
  CHECK(compiled > 0);
  CHECK(engine_of(eager).profile.launch.eager_call_us > compiled);
}

TEST_CASE("cudagraph_mode: which steps have a graph, and what it is without one") {
  struct Case {
    std::string mode;
    bool full;
    PromptGraphs prompts;
    bool captured = true;
  };
  const Case cases[] = {
      {"PIECEWISE", false, PromptGraphs::kSame},
      {"FULL", true, PromptGraphs::kFull},
      {"FULL_DECODE_ONLY", true, PromptGraphs::kNone},
      {"FULL_AND_PIECEWISE", true, PromptGraphs::kSame},
      {"NONE", true, PromptGraphs::kSame, false},
  };
  const EngineSpec usual = engine_of(load_text(with_line(9, "  max_num_seqs: 8")));
  CHECK(usual.cudagraph_mode == "FULL_AND_PIECEWISE");
  CHECK(engine_of(load_text(with_line(9, "  backend_version: '0.10'"))).cudagraph_mode ==
        "PIECEWISE");
  for (const Case& c : cases) {
    CAPTURE(c.mode);
    const EngineSpec engine = engine_of(load_text(with_line(9, "  cudagraph_mode: " + c.mode)));
    CHECK(engine.cudagraph_mode == c.mode);
    CHECK(engine.profile.full_graphs == c.full);
    CHECK((engine.profile.prompt_graphs == c.prompts));
    CHECK(engine.cudagraph_capture_sizes.empty() == !c.captured);
    CHECK(engine.profile.launch.eager_call_us == usual.profile.launch.eager_call_us);
  }
}

TEST_CASE("an unknown release is a warning, not a guess in silence") {
  const Scenario scenario = load_text(with_line(9, "  backend_version: '0.40'"));
  CHECK(scenario.warnings.size() == 1);
  CHECK(scenario.warnings[0].find("0.40") != std::string::npos);
}

TEST_CASE("idle GPUs are a warning") {
  const Scenario scenario = load_text(with_line(7, "    - {profile: a100_sxm}"));
  CHECK(scenario.cluster.total_gpus() == 8);
  CHECK(scenario.warnings ==
        std::vector<std::string>{"6 of 8 GPUs are idle: no instance uses them"});
}

TEST_CASE("more GPUs in a node than its system has are a warning") {
  const auto warnings = [](int gpus) {
    return load_text(with_line(7, "    - {profile: a100_sxm, gpus: " + std::to_string(gpus) + "}"))
        .warnings;
  };
  CHECK(warnings(8).size() == 1);  // idle ones
  REQUIRE(warnings(9).size() == 2);
  CHECK(warnings(9)[0].starts_with(
      "system.nodes.0.gpus: 9 GPUs in a node, where one of a100_sxm has 8"));
}

/// The small scenario without `precision` and with these engine keys.
std::string with_engine(const std::string& keys) {
  std::string text = with_line(4, "");
  const std::string old = "max_num_seqs: 256";
  return text.replace(text.find(old), old.size(), keys);
}

TEST_CASE("vLLM's spellings mean the same as precision") {
  const Scenario ours = load_text(with_line(4, "precision: {weights: awq_int4, kv_cache: fp8}"));
  const Scenario theirs = load_text(with_engine("quantization: awq\n  kv_cache_dtype: fp8_e4m3"));
  CHECK(ours.model.precisions.experts == theirs.model.precisions.experts);
  CHECK(ours.model.precisions.attention == theirs.model.precisions.attention);
  CHECK(ours.model.precisions.kv_cache == theirs.model.precisions.kv_cache);
  CHECK(theirs.model.precisions.experts == NumberFormat::kAwqInt4);
  const Scenario half = load_text(with_engine("dtype: float16"));
  CHECK(half.model.precisions.experts == NumberFormat::kFp16);
  CHECK(resolved(half, "precision.weights") == "fp16 (file)");
  const Scenario same = load_text(with_engine("kv_cache_dtype: auto\n  dtype: auto"));
  CHECK(resolved(same, "precision.weights") == "bf16 (config.json)");
}

TEST_CASE("flags we do not model are accepted where they are off") {
  const char* off =
      "  enable_expert_parallel: false\n  enable_dbo: false\n  enable_eplb: false\n  "
      "cpu_offload_gb: 0\n"
      "  kv_offloading_size: 0\n  speculative_config: null\n  decode_context_parallel_size: 1\n"
      "  expert_placement_strategy: linear\n  all2all_backend: allgather_reducescatter\n"
      "  dbo_decode_token_threshold: 32\n  dbo_prefill_token_threshold: 512";
  CHECK(mistakes_of(with_line(9, off)).empty());
  CHECK(
      mistakes_of(with_line(19, "routing: {kind: uniform, fidelity: auto, capacity_factor: null}"))
          .empty());
  CHECK(mistakes_of(with_line(19, "plan: null\nplacement: linear\nuncertainty: {replicas: 1}"))
            .empty());
}

TEST_CASE("an entry's engine overrides the scenario's, for that entry only") {
  const Scenario scenario =
      load_text(with_line(12,
                          "    - {tensor_parallel_size: 1, engine: {max_num_seqs: 8}}\n    - "
                          "{tensor_parallel_size: 1}"));
  CHECK(scenario.instances[0].engine.max_num_seqs == 8);
  CHECK(scenario.instances[1].engine.max_num_seqs == 256);
  CHECK(resolved(scenario, "deployment.instances.0.engine.max_num_seqs") == "8 (file)");
  CHECK(resolved(scenario, "engine.max_num_seqs") == "absent");
}

TEST_CASE("overrides replace values and are mistakes at their flag") {
  const Scenario scenario =
      load_text(small_scenario(), {{"system.nodes.0.gpus", "4"},
                                   {"deployment.instances.0.count", "2"},
                                   {"workload.arrival", "{kind: all_at_once}"}});
  CHECK(scenario.cluster.total_gpus() == 4);
  CHECK(scenario.instances[0].count == 2);
  CHECK(scenario.workload.arrival.policy.name == "all_at_once");
  CHECK(scenario.resolved_json.find("\"gpus\": 4") != std::string::npos);
  const auto found =
      mistakes_of(small_scenario(), {{"engine.max_num_seqs", "many", "--max-num-seqs"}});
  CHECK(found.size() == 1);
  CHECK(found[0].where.file == "--max-num-seqs");
  CHECK(found[0].key == "engine.max_num_seqs");
}

TEST_CASE("request_rate: inf sends everything at once") {
  const Scenario scenario =
      load_text(with_line(14, "  arrival: {kind: poisson, request_rate: inf}"));
  CHECK(std::isinf(scenario.workload.arrival.request_rate));
  const Workload workload = make_workload(scenario.workload, 1);
  CHECK(workload.arrival_ns.back() == 0);
}

TEST_CASE("a trace given by an override replaces arrival and synthetic, and the other way round") {
  const TempFolder folder;
  const std::string trace = folder.write("t.csv", kTrace).string();
  const Scenario traced = load_text(small_scenario(), {{"workload.trace", trace}});
  CHECK(traced.workload.trace->path == trace);
  CHECK(traced.workload.synthetic.num_prompts == 0);

  std::string with_trace = small_scenario();
  const std::size_t begin = with_trace.find("  arrival:");
  with_trace.replace(begin, with_trace.find("seed:") - begin, "  trace: " + trace + "\n");
  CHECK(load_text(with_trace).workload.trace->path == trace);
  const Scenario fast = load_text(with_trace, {{"workload.trace.rate_scale", "2"}});
  CHECK(fast.workload.trace->rate_scale == 2);
  CHECK(fast.workload.trace->path == trace);
  const Scenario drawn =
      load_text(with_trace, {{"workload.arrival", "{kind: constant, request_rate: 1}"},
                             {"workload.synthetic.num_prompts", "3"},
                             {"workload.synthetic.input_tokens", "10"},
                             {"workload.synthetic.output_tokens", "10"}});
  CHECK_FALSE(drawn.workload.trace.has_value());
  CHECK(drawn.workload.synthetic.num_prompts == 3);
  const auto both = mistakes_of(
      small_scenario(), {{"workload.trace", trace}, {"workload.arrival.request_rate", "1"}});
  CHECK(both.size() == 1);
  CHECK(both[0].problem.find("recorded trace") != std::string::npos);
}

TEST_CASE("paths in a file start at its folder, paths of overrides at the current one") {
  const TempFolder folder;
  folder.write("data/t.csv", kTrace);
  std::string text = small_scenario();
  const std::size_t begin = text.find("  arrival:");
  text.replace(begin, text.find("seed:") - begin, "  trace: {path: data/t.csv, end_s: 1}\n");
  const std::filesystem::path file = folder.write("s.yaml", text);
  const Scenario scenario = load_scenario(file);
  CHECK(scenario.workload.trace->path == folder.path() / "data/t.csv");
  CHECK(scenario.base_dir == folder.path());
  CHECK(make_workload(scenario.workload, 1).size() == 1);
  // The same words on the command line mean a file below the current folder, which is not there.
  bool refused = false;
  try {
    static_cast<void>(load_scenario(file, {{"workload.trace.path", "data/t.csv"}}));
  } catch (const InputError& error) {
    refused = true;
    CHECK(error.diagnostics()[0].problem.find(std::filesystem::current_path().string()) !=
          std::string::npos);
  }
  CHECK(refused);
  // In a variant they mean the file's folder again.
  CHECK(load_scenario(file, {{"workload.trace.path", "data/t.csv", "variant 'x'"}})
            .workload.trace.has_value());
}

TEST_CASE("variants keep path and value, and become the scenario on request") {
  const std::string text =
      with_line(19,
                "variants:\n  - {name: fp8-kv, set: {precision.kv_cache: fp8}}\n"
                "  - {name: late, set: {workload.arrival: {kind: constant, request_rate: 1}}}");
  const Scenario base = load_text(text);
  CHECK(base.variants.size() == 2);
  CHECK(base.variants[0].name == "fp8-kv");
  CHECK(base.variants[0].set.at(0).first == "precision.kv_cache");
  CHECK(base.variants[0].set.at(0).second == "fp8");
  CHECK(base.variants[0].where.line == 20);
  CHECK(base.model.precisions.kv_cache == NumberFormat::kBf16);
  const Scenario variant = load_text(text, variant_overrides(base.variants[0]));
  CHECK(variant.model.precisions.kv_cache == NumberFormat::kFp8);
  CHECK(resolved(variant, "precision.kv_cache") == "fp8 (file)");
  CHECK(variant.variants.empty());
  CHECK(load_text(text, variant_overrides(base.variants[1])).workload.arrival.policy.name ==
        "constant");
}

TEST_CASE("a mistake of the base is reported once, however many variants share it") {
  const auto found = mistakes_of(with_line(
      9,
      "  max_num_seq: 1\nvariants:\n  - {name: a, set: {seed: 2}}\n  - {name: b, set: {seed: 3}}"));
  CHECK(found.size() == 1);
}

TEST_CASE("a network joins nodes, and links may be given by numbers") {
  const Scenario scenario = load_text(with_line(
      7,
      "    - {profile: a100_sxm, count: 2}\n  network: {preset: leaf_spine, link: "
      "{gbitps: 400, latency_us: 3, efficiency: 0.9}, nics_per_node: 4, oversubscription: 2}"));
  const NetworkSpec& network = scenario.cluster.network;
  CHECK(network.preset == NetworkPreset::kLeafSpine);
  CHECK(network.link.bandwidth.value() == 50e9);  // 400 Gbit/s
  CHECK(network.link.latency.value() == doctest::Approx(3e-6));
  CHECK(network.link.efficiency == 0.9);
  CHECK(network.nics_per_node == 4);
  CHECK(network.oversubscription == 2);
}

TEST_CASE("an explicit graph has vertices and edges") {
  const Scenario scenario = load_text(with_line(
      7,
      "    - {profile: a100_sxm, count: 2}\n  network:\n    preset: explicit\n    link: ndr_400g\n"
      "    graph:\n      vertices: [leaf0]\n      edges:\n        - {from: node0, to: leaf0}\n"
      "        - {from: node1, to: leaf0, link: hdr_200g}"));
  const NetworkSpec& network = scenario.cluster.network;
  CHECK(network.vertices.at(0).name == "leaf0");
  CHECK(network.edges.at(0).link.name == "ndr_400g");
  CHECK(network.edges.at(1).link.name == "hdr_200g");
}

TEST_CASE("goals, prices, adapters and switches arrive where they belong") {
  const Scenario scenario = load_text(with_line(
      19,
      "slo: {ttft_ms: 2000, itl_ms: 80, percentile: 95}\ncost: {gpu_hour_usd: {a100_sxm: 1.8}}\n"
      "lora: {adapters: 4, rank: 32, targets: hot_experts, hot_experts: 2}\n"
      "uncertainty: {replicas: 3}\ndescription: what it asks"));
  CHECK(scenario.slo.ttft_ms == 2000.0);
  CHECK(scenario.slo.itl_ms == 80.0);
  CHECK_FALSE(scenario.slo.tpot_ms.has_value());
  CHECK(scenario.slo.percentile == 95);
  CHECK(scenario.gpu_hour_usd.at("a100_sxm") == 1.8);
  CHECK(scenario.lora.adapters == 4);
  CHECK(scenario.lora.targets == LoraTargets::kHotExperts);
  CHECK(scenario.lora.hot_experts == 2);
  CHECK(scenario.uncertainty_replicas == 3);
  CHECK(scenario.description == "what it asks");
}

TEST_CASE("JSON is accepted as well") {
  const Scenario scenario = load_text(
      R"({"schema_version": 1, "name": "j", "model": "Mixtral-8x7B-v0.1",
          "system": {"nodes": [{"profile": "a100_sxm", "gpus": 2}]},
          "deployment": {"instances": [{"tensor_parallel_size": 2}]},
          "workload": {"arrival": {"kind": "closed_loop", "max_concurrency": 3},
                       "synthetic": {"num_prompts": 5, "input_tokens": 10, "output_tokens": 10},
                       "finish": "eos"}})");
  CHECK(scenario.workload.arrival.max_concurrency == 3);
  CHECK(scenario.workload.finish_eos);
}

}  // namespace
}  // namespace moesim
