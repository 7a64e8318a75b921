#include "sim/report/json_moe.h"

#include <cmath>
#include <cstdlib>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace moesim {
namespace {

using Json = nlohmann::ordered_json;

/// What applies to a run: the rest is absent, not zero.
struct Applies {
  bool capacity = false;                   ///< experts can be full
  bool chosen = false;                     ///< experts choose their tokens
  bool exchange = false, network = false;  ///< tokens travel between ranks; between nodes
};

Applies what_applies(const MoeSection& moe) {
  Applies out;
  // Experts that choose take what they have room for: nothing is over their capacity.
  out.chosen = !moe.experts_per_token_ratio.empty();
  out.capacity = moe.capacity_factor.has_value() && !out.chosen;
  for (const MoeLayerReport& layer : moe.layers) {
    out.network = out.network || layer.a2a_bytes_inter > 0;
    out.exchange = out.exchange || out.network || layer.a2a_bytes_intra > 0;
  }
  return out;
}

Json layer_json(const MoeLayerReport& layer, const Applies& applies) {
  Json out = {{"layer", layer.layer},
              {"tokens", json_value(layer.tokens)},
              {"assignments", json_value(layer.assignments)},
              {"padded_tokens", json_value(layer.padded_tokens)},
              {"active_experts_mean", json_value(layer.active_experts_mean)},
              {"rank_imbalance_mean", json_value(layer.rank_imbalance_mean)},
              {"rank_imbalance_p99", json_value(layer.rank_imbalance_p99)},
              {"rank_imbalance_by_tokens", json_value(layer.rank_imbalance_by_tokens)},
              {"expert_imbalance_mean", json_value(layer.expert_imbalance_mean)}};
  if (applies.capacity) out["dropped_ratio"] = json_value(layer.dropped_ratio);
  if (applies.exchange) out["a2a_bytes_intra"] = json_value(layer.a2a_bytes_intra);
  if (applies.network) out["a2a_bytes_inter"] = json_value(layer.a2a_bytes_inter);
  if (applies.capacity || applies.chosen)
    out["tokens_with_none_ratio"] = json_value(layer.tokens_with_none_ratio);
  if (!applies.capacity) return out;
  out["moved_ratio"] = json_value(layer.moved_ratio);
  out["padding_ratio"] = json_value(layer.padding_ratio);
  return out;
}

Json eplb_json(const MoeSection& moe) {
  Json out = {{"num_redundant_experts", moe.redundant_experts}, {"use_async", moe.eplb_async}};
  out["rebalances"] = Json::array();
  for (const MoeRebalance& r : moe.rebalances) {
    Json one;
    if (!r.instance.empty()) one["instance"] = r.instance;
    one.update({{"step", r.step},
                {"copy_ms", json_value(r.copy_ms)},
                {"moved_bytes", json_value(r.moved_bytes)},
                {"rank_imbalance_before", json_value(r.imbalance_before)},
                {"rank_imbalance_after", json_value(r.imbalance_after)}});
    if (r.imbalance_next) one["rank_imbalance_next"] = json_value(*r.imbalance_next);
    out["rebalances"].push_back(std::move(one));
  }
  return out;
}

Json offload_json(const MoeOffload& offload) {
  Json out = {{"tier", offload.tier},
              {"policy", offload.policy},
              {"prefetch", offload.prefetch},
              {"resident_fraction", json_value(offload.resident_fraction)},
              {"hit_ratio", json_value(offload.hit_ratio)}};
  if (offload.ahead_ratio) out["prefetched_ratio"] = json_value(*offload.ahead_ratio);
  out["bytes_copied"] = json_value(offload.bytes_copied);
  out["copy_ms_per_step"] = json_value(offload.copy_ms_per_step);
  if (!offload.cpu) return out;
  out["compute"] = "cpu";
  out["computed_on_cpu_ratio"] = json_value(offload.cpu->ratio);
  out["cpu_ms_per_step"] = json_value(offload.cpu->ms_per_step);
  return out;
}

Json error_json(const MoeSampledError& error) {
  const auto value = [](const MoeSampledError::Value& one) {
    return Json{{"mean", json_value(one.mean)}, {"standard_error", json_value(one.standard_error)}};
  };
  return {{"steps", error.steps},
          {"active_experts", value(error.active_experts)},
          {"rank_imbalance", value(error.rank_imbalance)},
          {"expert_time", value(error.expert_time)}};
}

}  // namespace

Json json_value(double value) {
  if (!std::isfinite(value)) return nullptr;
  return std::strtod(fmt::format("{:.6g}", value).c_str(), nullptr);
}

Json moe_json(const MoeSection& moe) {
  Json out;
  out["routing"] = moe.routing;
  out["fidelity"] = moe.fidelity;
  if (!moe.experts_per_token_ratio.empty()) {
    out["router"] = "expert_choice";
    Json& shares = out["experts_per_token_ratio"] = Json::array();
    for (const double share : moe.experts_per_token_ratio) shares.push_back(json_value(share));
  }
  if (moe.sampled_error) out["sampled_error_ratio"] = error_json(*moe.sampled_error);
  if (moe.capacity_factor) out["capacity_factor"] = json_value(*moe.capacity_factor);
  if (moe.prefill_from_decode) out["prefill_rows"] = "from_decode";
  if (moe.dispatch_estimated) out["dispatch"] = "estimated";
  if (moe.sequence_epochs > 0) out["sequence_epochs"] = moe.sequence_epochs;
  out["ep_ranks"] = moe.ranks;
  if (!moe.placement.empty()) out["placement"] = moe.placement;
  if (moe.placement == "eplb") out["eplb"] = eplb_json(moe);
  if (moe.offload) out["offload"] = offload_json(*moe.offload);
  if (moe.straggler) {
    const MoeStraggler& s = *moe.straggler;
    Json& told = out["straggler"];
    if (!s.instance.empty()) told["instance"] = s.instance;
    told.update({{"rank", s.rank},
                 {"share_ratio", json_value(s.share_ratio)},
                 {"layer", s.layer},
                 {"expert", s.expert},
                 {"expert_load_ratio", json_value(s.expert_load_ratio)}});
  }
  out["layers"] = Json::array();
  const Applies applies = what_applies(moe);
  for (const MoeLayerReport& layer : moe.layers)
    out["layers"].push_back(layer_json(layer, applies));
  if (moe.expert_load_ratio.empty()) return out;
  // Three digits are enough for a colour; a large model has 15,000 cells.
  Json& map = out["expert_load_ratio"] = Json::array();
  for (const auto& row : moe.expert_load_ratio) {
    Json cells = Json::array();
    for (const double load : row)
      cells.push_back(std::strtod(fmt::format("{:.3g}", load).c_str(), nullptr));
    map.push_back(std::move(cells));
  }
  return out;
}

}  // namespace moesim
