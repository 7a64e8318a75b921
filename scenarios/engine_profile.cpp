#include "scenarios/engine_profile.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "sim/base/check.h"

namespace moesim {
namespace {

using literals::operator""_GiB;

/// One row of the table of releases (serving-semantics 0.2 and 1.2): the dated changes that a
/// release has. Everything not listed here is the same in all of them.
struct VllmRelease {
  int minor;              ///< vLLM 0.<minor>
  bool async_scheduling;  ///< default since 2025-12-29 (c2ff33cc8), first in 0.14
  bool full_isl;          ///< scheduler_reserve_full_isl since 2026-03-24 (dc78c2c93), 0.19 (U)
  bool full_graphs;       ///< FULL_AND_PIECEWISE from 0.11 on
  int graph_sizes;        ///< 67 sizes until 0.11, 51 from 0.12 on (d8c6210ee)
  double utilization;     ///< 0.92 since 2026-04-21 (96a85c575), 0.21
  bool graphs_in_budget;  ///< came with the raise to 0.92
  bool context_outside;   ///< snapshot after NCCL since 2025-09-23 (abad204be), 0.11
  bool worst_case_moe;    ///< profile run allocates it since 2025-11-21 (1840c5cb1), 0.12
  int fused_moe_chunk;    ///< 32768, then 16384; removed 2026-03-12 (2cdf92228), 0.17 (U)
  const char* all2all;    ///< `naive` until 0.10
  double host_factor;     ///< V09 and V11 spend 1.5-2 times the CPU time of V26 (4.5): 1.75
};

constexpr const char* kNaive = "naive";
constexpr const char* kAgRs = "allgather_reducescatter";

// clang-format off
constexpr VllmRelease kReleases[] = {
  // minor async  isl    full   sizes  util  graphs ctx    worst  chunk  all2all host
  {    9,  false, false, false, 67,    0.90, false, false, false, 32768, kNaive, 1.75},  // V09
  {   10,  false, false, false, 67,    0.90, false, false, false, 32768, kNaive, 1.75},
  {   11,  false, false, true,  67,    0.90, false, true,  false, 32768, kAgRs,  1.75},  // V11
  {   12,  false, false, true,  51,    0.90, false, true,  true,  16384, kAgRs,  1.00},  // V12
  {   13,  false, false, true,  51,    0.90, false, true,  true,  16384, kAgRs,  1.00},
  {   14,  true,  false, true,  51,    0.90, false, true,  true,  16384, kAgRs,  1.00},  // V16
  {   15,  true,  false, true,  51,    0.90, false, true,  true,  16384, kAgRs,  1.00},
  {   16,  true,  false, true,  51,    0.90, false, true,  true,  16384, kAgRs,  1.00},
  {   17,  true,  false, true,  51,    0.90, false, true,  true,      0, kAgRs,  1.00},  // (U)
  {   18,  true,  false, true,  51,    0.90, false, true,  true,      0, kAgRs,  1.00},
  {   19,  true,  true,  true,  51,    0.90, false, true,  true,      0, kAgRs,  1.00},  // (U)
  {   20,  true,  true,  true,  51,    0.90, false, true,  true,      0, kAgRs,  1.00},
  {   21,  true,  true,  true,  51,    0.92, true,  true,  true,      0, kAgRs,  1.00},  // V26
};
// clang-format on

constexpr const char* kVllm = "vllm";
constexpr const char* kSglang = "sglang";
constexpr const char* kTrtllm = "trtllm";
constexpr const char* kStaticBatch = "static_batch";
constexpr const char* kStaticVersion = "1";

/// fp32 copies of the logits alive while vLLM samples: fitted to start-up logs, models/memory.h.
constexpr double kSamplerCopies = 9.5;

/// Residual of time per output token of published runs with scheduling ahead, batches of 4 to 64:
/// 0.5 to 0.75 ms a step for 0.11 and 0.12, 0.1 to 0.4 ms for later ones (hardware/README.md).
constexpr double kExposedBefore14 = 550, kExposedSince14 = 300, kExposedPerSequence = 5;
/// First tokens of published runs come later than the engine alone explains: on H100 and H200, at
/// batch 4 to 8, by 10 to 15 ms (0.11) and by 5 to 7 ms (0.15, 0.18). 1 to 2 us a token is the
/// usual rate of a tokeniser.
constexpr ApiCost kApiBefore14{12000, 1.5}, kApiSince14{6000, 1.5};
/// VLLM_SHARED_EXPERTS_STREAM_TOKEN_THRESHOLD (serving-semantics 3.3).
constexpr int kSharedExpertTokens = 256;

/// PyTorch operators called one by one from Python: the middle of what was fitted for the two other
/// engines that do so, SGLang (75 to 90 us) and TensorRT-LLM (55 us).
constexpr double kUncompiledCallUs = 70;
/// The same, compiled but without a graph: Python between the pieces, custom operators, launches.
/// Between what first tokens beyond the captured sizes say that do not get faster with more GPUs:
/// 33 us (Llama-3.1-70B on 8 H100 and H200), 48 us (the same on B200), 72 us (MiniMax-M2.5 on B200,
/// which takes 45 ms instead of 100 once 2048 tokens are captured).
constexpr double kCompiledCallUs = 45;

EngineProfile vllm_profile(const VllmRelease& release) {
  EngineProfile profile;
  profile.backend = std::string(kVllm);
  profile.version = fmt::format("0.{}", release.minor);
  profile.async_scheduling = release.async_scheduling;
  profile.reserve_full_isl = release.full_isl;
  profile.full_graphs = release.full_graphs;
  profile.graph_sizes_rule = release.graph_sizes;
  profile.gpu_memory_utilization = release.utilization;
  profile.all2all_backend = std::string(release.all2all);
  profile.host = HostCost{}.scaled(release.host_factor);
  profile.host.exposed_us = release.minor < 14 ? kExposedBefore14 : kExposedSince14;
  profile.host.exposed_per_sequence_us = kExposedPerSequence;
  profile.api = release.minor < 14 ? kApiBefore14 : kApiSince14;
  profile.launch.eager_layer_us = 0;
  profile.launch.eager_call_us = kCompiledCallUs;
  profile.launch.uncompiled_call_us = kUncompiledCallUs;
  profile.shared_expert_stream_tokens = kSharedExpertTokens;
  MemoryRules& memory = profile.memory;
  memory.budget = KvBudgetRule::kVllm;
  memory.utilization = release.utilization;
  memory.graphs_in_budget = release.graphs_in_budget;
  memory.context_outside_budget = release.context_outside;
  memory.worst_case_moe_workspace = release.worst_case_moe;
  memory.fused_moe_chunk = release.fused_moe_chunk;
  memory.graph_sizes = release.graph_sizes;
  memory.sampler_copies = kSamplerCopies;
  return profile;
}

/// A plain Transformers generate() loop: one batch at a time, everything launched eagerly from
/// Python, no pool of its own. Nothing is set aside for others, so it may use the whole card except
/// what the caching allocator loses: 5 %, an estimate. Eager launch: some 40 uncompiled kernels a
/// layer at 4-6 us each (4.5 has 10-20 compiled ones), an estimate too.
EngineProfile static_batch_profile() {
  EngineProfile profile;
  profile.backend = std::string(kStaticBatch);
  profile.version = std::string(kStaticVersion);
  profile.scheduler = std::string(kStaticBatch);
  profile.async_scheduling = false;
  profile.chunked_prefill = profile.prefix_caching = false;
  profile.reserve_full_isl = true;
  profile.full_graphs = false;
  profile.graph_sizes_rule = 0;
  profile.gpu_memory_utilization = 0.95;
  profile.host = HostCost{}.scaled(1.75);
  profile.launch.eager_layer_us = 200;
  MemoryRules& memory = profile.memory;
  memory.utilization = 0.95;
  memory.enforce_eager = true;
  memory.graph_sizes = 0;
  return profile;
}

ProfileChoice vllm_choice(const std::string& version) {
  const VllmRelease& oldest = kReleases[0];
  const VllmRelease& newest = *std::rbegin(kReleases);
  if (version.empty()) return {vllm_profile(newest), ""};
  const std::optional<Release> wanted = parse_release(version);
  MOESIM_CHECK(wanted.has_value(), "the loader checks the form of engine.backend_version");
  const auto note = [&](const VllmRelease& used, const char* why) {
    return fmt::format("vLLM {} is {}: simulated with the behaviour and defaults of 0.{}", version,
                       why, used.minor);
  };
  if (wanted->major > 0 || wanted->minor > newest.minor) {
    return {vllm_profile(newest), note(newest, "newer than every release we know")};
  }
  if (wanted->minor < oldest.minor) {
    return {vllm_profile(oldest), note(oldest, "older than every release we know")};
  }
  const auto found = std::ranges::find(kReleases, wanted->minor, &VllmRelease::minor);
  MOESIM_CHECK(found != std::end(kReleases), "the table of releases has no gaps");
  return {vllm_profile(*found), ""};
}

/// "0.5.3", "1.2": as short as the release is told from others.
std::string release_text(const std::string& backend, const Release& release) {
  if (backend == kSglang && release > Release{0, 4, 0})
    return fmt::format("{}.{}.{}", release.major, release.minor, release.patch);
  return fmt::format("{}.{}", release.major, release.minor);
}

/// The newest release of a table that is not newer than `version`.
ProfileChoice choose(const std::string& backend, std::vector<KnownRelease> known,
                     const std::string& version) {
  for (KnownRelease& entry : known) {
    entry.profile.backend = backend;
    entry.profile.version = release_text(backend, entry.release);
  }
  if (version.empty()) return {known.back().profile, ""};
  const std::optional<Release> wanted = parse_release(version);
  MOESIM_CHECK(wanted.has_value(), "the loader checks the form of engine.backend_version");
  const auto note = [&](const EngineProfile& used, const char* why) {
    return fmt::format("{} {} is {}: simulated with the behaviour and defaults of {}", backend,
                       version, why, used.version);
  };
  const KnownRelease* found = nullptr;
  for (const KnownRelease& entry : known) {
    if (entry.release <= *wanted) found = &entry;
  }
  if (found == nullptr) {
    const EngineProfile& oldest = known.front().profile;
    return {oldest, note(oldest, "older than every release we know")};
  }
  const Release& newest = known.back().release;
  const bool newer =
      std::pair(wanted->major, wanted->minor) > std::pair(newest.major, newest.minor);
  if (found == &known.back() && newer)
    return {found->profile, note(found->profile, "newer than every release we know")};
  return {found->profile, ""};
}

}  // namespace

std::optional<Release> parse_release(std::string_view text) {
  if (text.starts_with('v')) text.remove_prefix(1);
  Release release;
  const char* at = text.data();
  const char* const end = at + text.size();
  int* const parts[] = {&release.major, &release.minor, &release.patch};
  for (int* const part : parts) {
    const auto [stop, error] = std::from_chars(at, end, *part);
    const bool number = error == std::errc{} && *part >= 0;
    if (!number && part == &release.patch) break;  // "0.19.x": the first two are enough
    if (!number) return std::nullopt;
    if (stop == end) return release;
    if (*stop != '.') {
      if (part == &release.major) return std::nullopt;
      return release;
    }
    at = stop + 1;
  }
  release.patch = std::max(release.patch, 0);
  return release;
}

bool is_version(const std::string& text) {
  return parse_release(text).has_value();
}

ProfileChoice engine_profile(const std::string& backend, const std::string& version) {
  if (backend == kStaticBatch) return {static_batch_profile(), ""};
  if (backend == kSglang) return choose(backend, sglang_releases(), version);
  if (backend == kTrtllm) return choose(backend, trtllm_releases(), version);
  MOESIM_CHECK(backend == kVllm, "the loader checks engine.backend");
  return vllm_choice(version);
}

std::vector<std::string> known_backends() {
  return {kVllm, kSglang, kTrtllm, kStaticBatch};
}

std::vector<std::string> known_versions(const std::string& backend) {
  if (backend == kStaticBatch) return {kStaticVersion};
  std::vector<std::string> result;
  if (backend == kSglang || backend == kTrtllm) {
    for (const KnownRelease& entry : backend == kSglang ? sglang_releases() : trtllm_releases())
      result.push_back(release_text(backend, entry.release));
    return result;
  }
  for (const VllmRelease& release : kReleases) result.push_back(fmt::format("0.{}", release.minor));
  return result;
}

std::vector<std::string> cudagraph_modes() {
  return {"NONE", "PIECEWISE", "FULL", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE"};
}

std::string usual_cudagraph_mode(const EngineProfile& profile) {
  return profile.full_graphs ? "FULL_AND_PIECEWISE" : "PIECEWISE";
}

void set_cudagraph_mode(const std::string& mode, EngineProfile& profile) {
  profile.full_graphs = mode != "PIECEWISE";
  profile.prompt_graphs = mode == "FULL"               ? PromptGraphs::kFull
                          : mode == "FULL_DECODE_ONLY" ? PromptGraphs::kNone
                                                       : PromptGraphs::kSame;
}

std::vector<int> default_capture_sizes(int rule, int max_num_seqs, int max_num_batched_tokens) {
  // serving-semantics 1.8; V12/V26 vllm/config/vllm.py. Both rules stop at 512 tokens.
  constexpr int kLargest = 512;
  constexpr int kFineUntil = 256;  // rule 51: steps of 8 below, of 16 from here on
  const bool fine_throughout = rule == 67;
  const int largest = static_cast<int>(
      std::min<std::int64_t>({std::int64_t{2} * max_num_seqs, kLargest, max_num_batched_tokens}));
  std::vector<int> sizes;
  if (rule == 0) return sizes;
  for (const int size : {1, 2, 4}) {
    if (size <= largest) sizes.push_back(size);
  }
  for (int size = 8; size <= largest; size += fine_throughout || size < kFineUntil ? 8 : 16) {
    sizes.push_back(size);
  }
  return sizes;
}

BatchDefaults batch_defaults(const std::string& system_name, Bytes device_total) {
  // vllm/engine/arg_utils.py: the large class is 70 GiB and more, and by name not the A100.
  const bool a100 = system_name.starts_with("a100");
  if (device_total >= 70_GiB && !a100) {
    return {.max_num_batched_tokens = 8192, .max_num_seqs = 1024};
  }
  return {.max_num_batched_tokens = 2048, .max_num_seqs = 256};
}

}  // namespace moesim
