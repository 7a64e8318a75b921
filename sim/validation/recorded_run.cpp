#include "sim/validation/recorded_run.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <sstream>
#include <string_view>
#include <utility>

#include "scenarios/engine_profile.h"
#include "sim/base/csv.h"
#include "sim/base/files.h"
#include "sim/base/reader.h"
#include "sim/validation/published_names.h"
#include "sim/validation/row_reader.h"
#include "sim/validation/scenario_keys.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

/// Arguments that are keys of `engine` under the same name.
constexpr std::array<std::string_view, 19> kEngineArguments = {"max_num_seqs",
                                                               "max_num_batched_tokens",
                                                               "max_model_len",
                                                               "gpu_memory_utilization",
                                                               "block_size",
                                                               "enable_prefix_caching",
                                                               "enable_chunked_prefill",
                                                               "long_prefill_token_threshold",
                                                               "enforce_eager",
                                                               "async_scheduling",
                                                               "scheduling_policy",
                                                               "cudagraph_capture_sizes",
                                                               "num_gpu_blocks_override",
                                                               "dtype",
                                                               "quantization",
                                                               "kv_cache_dtype",
                                                               "enable_expert_parallel",
                                                               "all2all_backend",
                                                               "speculative_config"};
constexpr std::array<std::string_view, 3> kInstanceArguments = {
    "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"};
/// Arguments that change no time: what is loaded from where, and what is logged.
constexpr std::array<std::string_view, 9> kNoEffect = {
    "model",       "seed",     "tokenizer",         "trust_remote_code", "load_format",
    "served_name", "revision", "disable_log_stats", "download_dir"};

template <class List>
bool contains(const List& list, const std::string& name) {
  return std::ranges::find(list, name) != list.end();
}

int gpus_of(Reader& arguments) {
  constexpr Range kRanks{.min = 1, .max = 4096};
  std::int64_t gpus = 1;
  for (const std::string_view size : kInstanceArguments)
    gpus *= arguments.integer_or(std::string(size), 1, kRanks);
  return static_cast<int>(gpus);
}

void set_arguments(Reader& arguments, ScenarioKeys& keys, RecordedRun& run) {
  const int gpus = gpus_of(arguments);
  for (const std::string& name : arguments.keys()) {
    if (!arguments.has(name) || contains(kNoEffect, name)) continue;
    const std::string value = arguments.raw(name);
    const bool alone = name == "enable_expert_parallel" && gpus == 1;  // one GPU has all experts
    if (contains(kInstanceArguments, name)) {
      keys.set("deployment.instances.0." + name, value);
    } else if (contains(kEngineArguments, name)) {
      if (!alone) keys.set("engine." + name, value);
    } else {
      run.assumed.push_back(fmt::format("{} {} left out", name, value));
    }
  }
}

/// The card: `hardware`, a text or a mapping with texts; else the start of the folder's name.
std::optional<std::string> system_of(Reader& engine, const std::string& folder) {
  if (!engine.has("hardware")) return system_named_in(folder);
  return system_named_in(engine.raw("hardware"));
}

/// The version, and what is assumed where no rules of ours are of that release.
std::string known_form(const std::string& version, std::vector<std::string>& assumed) {
  if (version.empty()) {
    assumed.emplace_back("vllm_version not stated: the newest we know");
  } else if (!is_version(version)) {
    assumed.push_back(fmt::format("vllm_version '{}' is no release: the newest we know", version));
    return "";
  } else if (const std::string note = engine_profile("vllm", version).note; !note.empty()) {
    assumed.push_back(note);
  }
  return version;
}

void read_engine(const fs::path& folder, RecordedRun& run) {
  const Document document = Document::load(folder / "engine.json");
  Diagnostics diagnostics;
  Reader engine(document, diagnostics);
  Reader arguments = engine.map_or_empty("engine_kwargs");
  const std::string model = engine.text("model");
  const std::string version = known_form(engine.text_or("vllm_version", ""), run.assumed);
  if (engine.has("num_requests"))
    run.stated_requests = engine.integer("num_requests", {.min = 0, .max = 1e9});
  Reader kv = engine.map_or_empty("kv_cache");
  run.kv_blocks = kv.optional_number("num_gpu_blocks", {.min = 1, .max = 1e12});
  const std::optional<std::string> system = system_of(engine, run.name);
  const int gpus = gpus_of(arguments);

  ScenarioKeys keys("engine.json");
  const std::optional<std::string> shipped = shipped_model_of(model);
  if (!shipped) run.problem = fmt::format("model {} is not shipped", model);
  if (!system) run.problem = "the card is not named, or not shipped";
  run.system = system.value_or("");
  run.engine = engine_group("vllm", version);
  set_arguments(arguments, keys, run);
  run.length_is_free = !arguments.has("max_model_len");
  diagnostics.throw_if_any();
  if (!run.problem.empty()) return;
  keys.set("model", *shipped);
  keys.set_system(*system, gpus);
  if (!version.empty()) keys.set("engine.backend_version", fmt::format("'{}'", version));
  keys.set("workload.trace",
           fmt::format("{{path: \"{}\"}}", fs::absolute(folder / "requests.csv").string()));
  ScenarioOrProblem loaded = load_with(keys, run.name);
  run.problem = loaded.problem;
  run.scenario = std::move(loaded.scenario);
  if (!run.scenario) return;
  run.moe = run.scenario->model.is_moe();
  // Times of the engine's own log begin in its queue, behind the API server.
  for (InstanceSpec& instance : run.scenario->instances) instance.engine.profile.api = {};
}

/// Numbers beside the latencies that logs have.
constexpr std::array kLoggedTimes = {"queued_s", "scheduled_s", "first_token_s", "last_token_s"};

/// What the requests are called, in order; empty names without a column of them.
std::vector<std::string> names_in(const CsvTable& table, Diagnostics& diagnostics) {
  std::vector<std::string> names;
  for (const CsvRow& cells : table.rows())
    names.push_back(RowReader(table, cells, diagnostics).text("request_id"));
  return names;
}

/// The measured requests must be those that were sent.
void check_requests(const fs::path& folder, const CsvTable& measured, Diagnostics& diagnostics) {
  const fs::path path = folder / "requests.csv";
  const CsvTable sent = CsvTable::parse(read_file(path), path.string());
  if (sent.rows().size() != measured.rows().size()) {
    diagnostics.add({{measured.file_name(), 1, 1},
                     "",
                     fmt::format("{} requests were measured, {} sent in requests.csv",
                                 measured.rows().size(), sent.rows().size()),
                     "statistics of other requests cannot be compared: a row for each"});
    return;
  }
  std::vector<std::string> here = names_in(measured, diagnostics);
  std::vector<std::string> there = names_in(sent, diagnostics);
  std::ranges::sort(there);
  for (std::size_t i = 0; i < here.size(); ++i) {
    if (!sent.column("request_id") || std::ranges::binary_search(there, here[i])) continue;
    RowReader(measured, measured.rows()[i], diagnostics)
        .fail("request_id", fmt::format("'{}' is not in requests.csv", here[i]),
              "both files are of one run");
    return;  // the others will not be either
  }
}

void check_count(const fs::path& folder, const RecordedRun& run, Diagnostics& diagnostics) {
  if (!run.stated_requests || *run.stated_requests == static_cast<std::int64_t>(run.requests))
    return;
  diagnostics.add({{(folder / "engine.json").string(), 0, 0},
                   "num_requests",
                   fmt::format("{}, but {} were measured", *run.stated_requests, run.requests),
                   "both are of one run"});
}

void read_measured(const fs::path& folder, RecordedRun& run) {
  const fs::path path = folder / "measured.csv";
  const CsvTable table = CsvTable::parse(read_file(path), path.string());
  Diagnostics diagnostics;
  for (const char* column : {"ttft_ms", "tpot_ms", "e2e_ms"}) {
    if (!table.column(column))
      diagnostics.add({{table.file_name(), 1, 1}, column, "missing column", "see commands.md"});
  }
  diagnostics.throw_if_any();
  const auto summary = [&](const char* column) {
    std::vector<double> values;
    for (const CsvRow& cells : table.rows()) {
      RowReader row(table, cells, diagnostics);
      if (const auto value = row.number(column, {.min = 0, .max = 1e12})) values.push_back(*value);
    }
    return summarize(std::move(values));
  };
  run.ttft_ms = summary("ttft_ms");
  run.tpot_ms = summary("tpot_ms");
  run.e2e_ms = summary("e2e_ms");
  run.requests = table.rows().size();
  for (const CsvRow& cells : table.rows()) {
    RowReader row(table, cells, diagnostics);
    for (const char* column : kLoggedTimes) (void)row.number(column, {.min = 0, .max = 1e9});
  }
  check_requests(folder, table, diagnostics);
  check_count(folder, run, diagnostics);
  diagnostics.throw_if_any();
}

/// "TTFT Mean   7097.2   6815.7   -4.0%": the engine's value, then the peer's.
std::optional<RecordedRun::PeerError> peer_line(const std::string& line) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kQuantities = {
      {{"TTFT", "ttft"}, {"TPOT", "tpot"}, {"Latency", "e2e"}}};
  constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kStatistics = {
      {{"Mean", "mean"}, {"Median", "p50"}, {"P90", "p90"}, {"P95", "p95"}, {"P99", "p99"}}};
  using Pair = std::pair<std::string_view, std::string_view>;
  std::istringstream words(line);
  std::string quantity, statistic;
  double engine = 0, peer = 0;
  if (!(words >> quantity >> statistic >> engine >> peer) || engine == 0) return std::nullopt;
  const auto* const q = std::ranges::find(kQuantities, quantity, &Pair::first);
  const auto* const s = std::ranges::find(kStatistics, statistic, &Pair::first);
  if (q == kQuantities.end() || s == kStatistics.end()) return std::nullopt;
  return RecordedRun::PeerError{fmt::format("{}_{}", q->second, s->second), peer / engine - 1};
}

void read_peer(const fs::path& folder, RecordedRun& run) {
  std::error_code error;
  const fs::path path = folder / "peer_summary.txt";
  if (!fs::is_regular_file(path, error)) return;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    if (const auto peer = peer_line(line)) run.peer.push_back(*peer);
  }
}

}  // namespace

RecordedRun read_recorded_run(const fs::path& folder) {
  RecordedRun run;
  run.name = fs::absolute(folder).lexically_normal().filename().string();
  if (run.name.empty())
    run.name = fs::absolute(folder).lexically_normal().parent_path().filename().string();
  read_engine(folder, run);
  read_measured(folder, run);
  read_peer(folder, run);
  return run;
}

}  // namespace moesim
