#include <algorithm>
#include <fmt/format.h>
#include <string>
#include <utility>

#include "sim/base/random.h"
#include "sim/base/reader.h"
#include "sim/report/counters.h"
#include "sim/report/moe_section.h"
#include "sim/report/report.h"
#include "sim/report/reproduce.h"
#include "sim/report/request_stats.h"
#include "sim/report/saturation.h"

namespace moesim {
namespace {

/// Names the inputs of a run: FNV-1a over the resolved scenario in canonical form (offset basis and
/// prime of 64 bits: Fowler, Noll, Vo, draft-eastlake-fnv), the seed mixed in.
std::string run_id(const Scenario& scenario) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const Document document = Document::parse(scenario.resolved_json, "scenario");
  for (const char c : document.to_canonical_json())
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return fmt::format("{:016x}", mix64(hash ^ mix64(scenario.seed)));
}

std::optional<double> ratio(double part, double whole) {
  return whole > 0 ? std::optional(part / whole) : std::nullopt;
}

int gpus_used(const Deployment& deployment) {
  std::size_t gpus = 0;
  for (const InstanceInfo& instance : deployment.instances) gpus += instance.gpus.size();
  return static_cast<int>(gpus);
}

SummarySection make_summary(const RunView& view, const Metrics& metrics,
                            const RequestStatistics& stats) {
  SummarySection out;
  out.duration = stats.duration_s(view.end_time);
  out.completed = stats.completed;
  out.failed = stats.failed;
  out.total_input_tokens = stats.input_tokens;
  out.total_output_tokens = stats.output_tokens;
  out.max_concurrent_requests = stats.max_concurrent;
  if (out.duration <= 0) return out;
  const auto input = static_cast<double>(stats.input_tokens);
  const auto output = static_cast<double>(stats.output_tokens);
  const int gpus = gpus_used(view.deployment);
  out.request_throughput = static_cast<double>(stats.counted_completed) / out.duration;
  out.output_throughput = output / out.duration;
  out.total_token_throughput = (input + output) / out.duration;
  out.max_output_tokens_per_s = static_cast<double>(metrics.max_output_tokens_per_s());
  out.output_token_throughput_per_user = stats.tokens_per_s_per_user;
  out.output_throughput_per_gpu = ratio(*out.output_throughput, gpus);
  if (gpus > 0) out.gpu_hours = gpus * out.duration / 3600;
  if (view.scenario.slo.of_requests())
    out.request_goodput = static_cast<double>(stats.good) / out.duration;
  return out;
}

LatencySection make_latency(const Metrics& metrics, const RequestStatistics& stats) {
  LatencySection out;
  out.time_to_first_token = stats.ttft_ms;
  out.time_to_second_token = stats.ttst_ms;
  out.time_per_output_token = stats.tpot_ms;
  out.request_latency = stats.e2el_ms;
  out.queue_time = stats.queue_ms;
  out.input_sequence_length = stats.input_length;
  out.output_sequence_length = stats.output_length;
  const LogHistogram gaps = metrics.all_gaps();
  if (gaps.count() > 0) out.inter_token_latency = scaled(gaps.summary(), 1e-6);
  return out;
}

std::optional<SloSection> make_slo(const RunView& view, const Metrics& metrics,
                                   const RequestStatistics& stats, double duration_s) {
  if (!view.scenario.slo.any() || stats.counted == 0) return std::nullopt;
  SloSection out;
  out.targets = view.scenario.slo;
  const LogHistogram gaps = metrics.all_gaps();
  if (out.targets.itl_ms && gaps.count() > 0) {
    const auto within = gaps.count_at_or_below(to_sim_time(Seconds(*out.targets.itl_ms / 1000)));
    out.itl_attainment_ratio = static_cast<double>(within) / static_cast<double>(gaps.count());
  }
  if (!out.targets.of_requests()) return out;
  out.good_request_count = stats.good;
  out.attainment_ratio = static_cast<double>(stats.good) / static_cast<double>(stats.counted);
  const auto rate = [duration_s](std::int64_t count) {
    return duration_s > 0 ? static_cast<double>(count) / duration_s : 0;
  };
  out.goodput_rps = rate(stats.good);
  for (std::size_t i = 0; i < stats.counted_by_class.size(); ++i) {
    const std::int64_t counted = stats.counted_by_class[i];
    const std::int64_t good = stats.good_by_class[i];
    if (counted == 0) continue;
    out.per_class.push_back({view.workload.slo_class_names[i], counted, good,
                             static_cast<double>(good) / static_cast<double>(counted), rate(good)});
  }
  return out;
}

InstanceUtilization instance_utilization(const RunView& view, const StepTotals& steps,
                                         std::size_t index, double duration_s) {
  const InstanceInfo& info = view.deployment.instances[index];
  const InstanceTotals& totals = view.totals[index];
  InstanceUtilization out;
  out.instance = info.name;
  out.steps = totals.steps;
  out.preemptions = totals.preemptions;
  // Without identities there is nothing a cache could find, and without a cache nothing is asked.
  if (!view.workload.chain.empty() && info.engine.enable_prefix_caching) {
    out.prefix_query_tokens = totals.prefix_query_tokens;
    out.prefix_hit_tokens = totals.prefix_hit_tokens;
  }
  if (duration_s <= 0) return out;
  const double duration_ns = duration_s * 1e9;
  // The rest of a pipeline's time is bubbles and idle stages.
  out.busy_ratio =
      std::min(1.0, static_cast<double>(steps.busy_ns) / duration_ns / info.parallel.pp);
  out.running_mean = steps.running_ns / duration_ns;
  out.waiting_mean = steps.waiting_ns / duration_ns;
  const auto blocks = static_cast<double>(totals.kv_blocks_total);
  out.kv_usage_mean_ratio = ratio(steps.kv_block_ns / duration_ns, blocks);
  out.kv_usage_peak_ratio = ratio(static_cast<double>(totals.kv_blocks_peak), blocks);
  return out;
}

UtilizationSection make_utilization(const RunView& view, const Metrics& metrics,
                                    double duration_s) {
  UtilizationSection out;
  std::int64_t queried = 0;
  std::int64_t hit = 0;
  std::int64_t sequences = 0;
  std::uint64_t steps = 0;
  double kv_mean = 0;
  const auto n = static_cast<double>(view.totals.size());
  for (std::size_t i = 0; i < view.totals.size(); ++i) {
    const StepTotals& totals = metrics.totals(i);
    InstanceUtilization one = instance_utilization(view, totals, i, duration_s);
    out.busy_ratio += one.busy_ratio / n;
    out.running_mean += one.running_mean;
    out.waiting_mean += one.waiting_mean;
    out.preemptions += one.preemptions;
    kv_mean += one.kv_usage_mean_ratio.value_or(0) / n;
    if (one.kv_usage_peak_ratio)
      out.kv_usage_peak_ratio =
          std::max(out.kv_usage_peak_ratio.value_or(0), *one.kv_usage_peak_ratio);
    queried += one.prefix_query_tokens;
    hit += one.prefix_hit_tokens;
    sequences += totals.sequences;
    for (const StepTotals::PerPhase& phase : totals.phases) steps += phase.steps;
    out.instances.push_back(std::move(one));
  }
  if (out.kv_usage_peak_ratio) out.kv_usage_mean_ratio = kv_mean;
  out.prefix_cache_hit_ratio = ratio(static_cast<double>(hit), static_cast<double>(queried));
  out.batch_mean = ratio(static_cast<double>(sequences), static_cast<double>(steps));
  return out;
}

/// Share of step time in exchanges between GPUs, where there are any.
std::optional<CommunicationSection> make_communication(const Metrics& metrics) {
  TermTimes sum{};
  double all = 0;
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode, Phase::kMixed}) {
    const StepTotals::PerPhase totals = metrics.phase(phase);
    all += totals.step_ns;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += totals.terms[i];
  }
  CommunicationSection out;
  for (const Term term : {Term::kAllReduce, Term::kDispatch, Term::kCombine, Term::kPpSendRecv}) {
    const double ns = sum[static_cast<std::size_t>(term)];
    if (ns > 0 && all > 0) out.time_share_ratio.emplace_back(term_name(term), ns / all);
  }
  if (out.time_share_ratio.empty()) return std::nullopt;
  return out;
}

void add_bytes(const MoeSection& moe, CommunicationSection& out) {
  double intra = 0, inter = 0;
  for (const MoeLayerReport& layer : moe.layers) {
    intra += layer.a2a_bytes_intra;
    inter += layer.a2a_bytes_inter;
  }
  if (intra + inter > 0) out.a2a_bytes_intra = intra;
  if (inter > 0) out.a2a_bytes_inter = inter;
}

/// System profile of a cluster GPU; GPUs are numbered group by group.
const std::string* profile_of(const ClusterSpec& cluster, int gpu) {
  for (const NodeGroup& group : cluster.nodes) {
    gpu -= group.count * group.gpus;
    if (gpu < 0) return &group.system.name;
  }
  return nullptr;
}

/// What the GPUs the instances use cost; absent unless every one has a price.
std::optional<CostSection> make_cost(const RunView& view, const SummarySection& summary) {
  const Scenario& scenario = view.scenario;
  if (scenario.gpu_hour_usd.empty()) return std::nullopt;
  CostSection out;
  for (const InstanceInfo& instance : view.deployment.instances) {
    for (const int gpu : instance.gpus) {
      const std::string* profile = profile_of(scenario.cluster, gpu);
      if (profile == nullptr) return std::nullopt;
      const auto price = scenario.gpu_hour_usd.find(*profile);
      if (price == scenario.gpu_hour_usd.end()) return std::nullopt;
      out.usd_per_hour += price->second;
    }
  }
  if (summary.duration > 0) {
    out.usd_total = out.usd_per_hour * summary.duration / 3600;
    out.usd_per_million_output_tokens =
        ratio(*out.usd_total * 1e6, static_cast<double>(summary.total_output_tokens));
  }
  return out;
}

std::vector<std::pair<std::string, double>> make_provenance(const RunView& view) {
  double all = 0;
  for (const double ns : view.provenance_ns) all += ns;
  std::vector<std::pair<std::string, double>> out;
  for (std::size_t i = 0; i < view.provenance_ns.size(); ++i) {
    if (view.provenance_ns[i] > 0)
      out.emplace_back(provenance_name(static_cast<Provenance>(i)), view.provenance_ns[i] / all);
  }
  return out;
}

SimulatorSection make_simulator(const RunView& view, Timings timings) {
  SimulatorSection out;
  out.wall_time_ms = timings.wall_ms;
  out.cpu_time_ms = timings.cpu_ms;
  out.events = view.events;
  for (const InstanceTotals& totals : view.totals) {
    out.steps += totals.steps;
    out.plain_steps += totals.plain_steps;
  }
  out.events_per_s = ratio(static_cast<double>(out.events), timings.cpu_ms * 1e-3);
  out.plain_step_share =
      ratio(static_cast<double>(out.plain_steps), static_cast<double>(out.steps));
  return out;
}

std::vector<std::string> make_warnings(const RunView& view, const RequestStatistics& stats) {
  std::vector<std::string> all;
  const auto add = [&all](const std::string& warning) {
    if (std::find(all.begin(), all.end(), warning) == all.end()) all.push_back(warning);
  };
  if (view.interrupted) {
    add(fmt::format(
        "interrupted after {:.6g} s of simulated time; the figures are of what ran until then",
        static_cast<double>(view.end_time) * 1e-9));
  }
  const auto unfinished = std::count(view.requests.status.begin(), view.requests.status.end(),
                                     RequestStatus::kIncomplete);
  if (view.scenario.workload.duration_s && unfinished > 0 && !view.interrupted) {
    add(fmt::format(
        "cut off at duration_s: {} requests were not done; they count as failed, and their "
        "tokens are in no throughput",
        unfinished));
  }
  const double end_s = static_cast<double>(view.end_time) * 1e-9;
  if (view.scenario.routing.hot_from_s.value_or(0) > end_s)
    add(fmt::format("routing: no expert got hot: from_s is {:g} s, and the run ends at {:.6g} s",
                    *view.scenario.routing.hot_from_s, end_s));
  for (const auto* list : {&view.scenario.warnings, &view.deployment.warnings, &view.warnings})
    for (const std::string& warning : *list) add(warning);
  if (view.scenario.model.hypothetical)
    add(fmt::format("{} is a hypothetical model: its shape is a rumour", view.scenario.model.id));
  if (stats.before_warmup > 0) {
    add(
        fmt::format("{} requests that arrived before warmup_s are left out of the statistics; "
                    "completed and failed count them",
                    stats.before_warmup));
  }
  return all;
}

}  // namespace

const char* tool_version() {
  return MOESIM_VERSION;
}

RunResult make_result(const RunView& view, const Metrics& metrics, Timings timings) {
  const Scenario& scenario = view.scenario;
  const RequestStatistics stats = request_statistics(view);
  RunResult out;
  out.tool_version = tool_version();
  out.run_id = run_id(scenario);
  out.name = scenario.name;
  out.seed = scenario.seed;
  out.digest = view.digest;
  out.scenario_json = scenario.resolved_json;
  out.nodes = node_infos(scenario.cluster);
  out.gpus_used = gpus_used(view.deployment);
  out.gpus_total = scenario.cluster.total_gpus();
  out.model = model_info(scenario.model);
  if (!scenario.instances.empty()) {
    out.backend = scenario.instances.front().engine.backend;
    out.backend_version = scenario.instances.front().engine.backend_version;
  }
  out.resolved = scenario.resolved;
  out.instances = instance_summaries(view.deployment);
  out.summary = make_summary(view, metrics, stats);
  out.latency = make_latency(metrics, stats);
  out.slo = make_slo(view, metrics, stats, out.summary.duration);
  out.saturation = saturation(view, stats);
  out.memory = memory_section(view.deployment);
  out.utilization = make_utilization(view, metrics, out.summary.duration);
  for (std::size_t i = 0; i < view.totals.size() && out.summary.duration > 0; ++i) {
    out.instance_throughput.push_back(
        {view.deployment.instances[i].name, stats.completed_by_instance[i],
         static_cast<double>(stats.output_tokens_by_instance[i]) / out.summary.duration});
  }
  out.moe = make_moe(view);
  out.communication = make_communication(metrics);
  if (out.communication && out.moe) add_bytes(*out.moe, *out.communication);
  out.breakdown = phase_breakdowns(metrics);
  out.cost = make_cost(view, out.summary);
  out.provenance = make_provenance(view);
  out.kernels = view.kernels;
  out.warnings = make_warnings(view, stats);
  out.simulator = make_simulator(view, timings);
  out.reproduce = reproduce_commands(view);
  out.counters = engine_counters(view, metrics);
  return out;
}

}  // namespace moesim
