#include <fmt/format.h>
#include <iostream>
#include <nlohmann/json.hpp>

#include "scenarios/load.h"
#include "sim/base/files.h"
#include "sim/cli/exit_codes.h"
#include "sim/cli/routing.h"
#include "sim/placement_study.h"
#include "sim/report/report.h"

namespace moesim {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMega = 1e-6, kGiga = 1e-9, kGib = 1024.0 * 1024 * 1024;

Json candidate_json(const PlacementCandidate& c) {
  Json out = {{"placement", c.name},
              {"num_redundant_experts", c.redundant},
              {"rank_imbalance_planned", c.planned},
              {"rank_imbalance_judged", c.judged},
              {"rank_imbalance_worst_layer", c.worst_layer}};
  out["redundant_experts_bytes_per_gpu"] = c.replica_bytes;
  out["num_kv_tokens"] = c.kv_tokens;
  if (!c.infeasible.empty()) {
    out["infeasible"] = c.infeasible;
    return out;
  }
  out["rank_imbalance_step_mean"] = c.step_imbalance;
  out["a2a_bytes_per_token"] = c.sent_per_token;
  out["a2a_inter_ratio"] = c.inter_share;
  out["output_throughput"] = c.output_throughput;
  out["input_throughput"] = c.input_throughput;
  if (c.mean_tpot_ms) out["mean_tpot_ms"] = *c.mean_tpot_ms;
  if (c.mean_ttft_ms) out["mean_ttft_ms"] = *c.mean_ttft_ms;
  out["moved_bytes"] = c.moved_bytes;
  out["move_ms"] = c.move_ms;
  out["keeps_up"] = c.keeps_up;
  if (c.saturated_throughput) out["saturated_throughput"] = *c.saturated_throughput;
  return out;
}

std::string json_text(const PlacementStudy& study) {
  Json out = {
      {"schema_version", 1},      {"tool_version", tool_version()}, {"scenario", study.scenario},
      {"model", study.model},     {"routing", study.routing},       {"layers", study.layers},
      {"experts", study.experts}, {"ep_ranks", study.ranks},        {"nodes", study.nodes}};
  out["candidates"] = Json::array();
  for (const PlacementCandidate& c : study.candidates)
    out["candidates"].push_back(candidate_json(c));
  out["best"] = study.best;
  if (study.fixed && study.eplb) out["compared"] = {{"fixed", *study.fixed}, {"eplb", *study.eplb}};
  out["pays"] = study.pays;
  if (!study.judged_by.empty()) out["judged_by"] = study.judged_by;
  out["verdict"] = study.verdict;
  return out.dump(1) + "\n";
}

std::string table_text(const PlacementStudy& study) {
  std::string out = fmt::format(
      "{}: {} experts of {} MoE layers of {} over {} ranks in {} nodes, {} routing\n"
      "planned on the first half of what is routed, judged by the second; fullest rank over "
      "mean\n\n",
      study.scenario, study.experts, study.layers, study.model, study.ranks, study.nodes,
      study.routing);
  out +=
      fmt::format("{:<12}{:>10}{:>9}{:>9}{:>9}{:>10}{:>12}{:>10}{:>13}{:>10}\n", "placement",
                  "redundant", "planned", "judged", "a step", "GiB/GPU", "KV tokens", "MB/token",
                  study.prefill ? "in tok/s" : "out tok/s", study.prefill ? "TTFT ms" : "TPOT ms");
  for (const PlacementCandidate& c : study.candidates) {
    out += fmt::format("{:<12}{:>10}{:>9.3f}{:>9.3f}", c.name, c.redundant, c.planned, c.judged);
    if (!c.infeasible.empty()) {
      out += fmt::format("  {}\n", c.infeasible);
      continue;
    }
    const std::optional<double>& latency = study.prefill ? c.mean_ttft_ms : c.mean_tpot_ms;
    out += fmt::format("{:>9.3f}{:>10.2f}{:>12}{:>10.3f}{:>13.0f}{:>10}\n", c.step_imbalance,
                       c.replica_bytes / kGib, c.kv_tokens, c.sent_per_token * kMega,
                       study.prefill ? c.input_throughput : c.output_throughput,
                       latency ? fmt::format("{:.2f}", *latency) : "-");
  }
  const PlacementCandidate& best = study.candidates[study.best];
  if (best.moved_bytes > 0) {
    out += fmt::format("\nmoving the weights of the best: {:.3g} GB over all ranks, {:.3g} ms\n",
                       best.moved_bytes * kGiga, best.move_ms);
  }
  return out + "\n" + study.verdict + "\n";
}

/// [layer][slot], as `placement: {file: PATH}` reads it.
std::string placement_text(const ExpertPlacement& placement) {
  std::string out = "[\n";
  for (int l = 0; l < placement.layers; ++l) {
    out += Json(std::vector<int>(placement.layer(l).begin(), placement.layer(l).end())).dump();
    out += l + 1 < placement.layers ? ",\n" : "\n";
  }
  return out + "]\n";
}

}  // namespace

int routing_place_command(const Arguments& args) {
  const Scenario scenario = load_scenario(args.inputs[1], args.overrides);
  const PlacementStudy study = study_placements(scenario, args.routing.redundant);
  if (args.out) write_file(*args.out, placement_text(study.candidates[study.best].placement));
  std::cout << (args.format == OutputFormat::kJson ? json_text(study) : table_text(study));
  return kExitOk;
}

}  // namespace moesim
