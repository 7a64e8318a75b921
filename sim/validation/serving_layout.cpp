#include "sim/validation/serving_layout.h"

#include <fmt/format.h>

namespace moesim {
namespace {

bool measured(const ServingRow& row, const char* metric) {
  for (const ServingRow::Measured& one : row.measured) {
    if (one.metric == metric) return true;
  }
  return false;
}

/// One side of a split system can be studied alone if only its GPUs are counted.
Side side_of(const ServingRow& row, std::string& problem) {
  if (!row.disagg) return Side::kBoth;
  const bool prompts = measured(row, "input_tok_s");
  const bool outputs = measured(row, "output_tok_s");
  const bool both_stated = !row.prefill_cfg.empty() && !row.decode_cfg.empty();
  if (!row.ep || *row.ep < 2 || both_stated || prompts == outputs) {
    problem = "prefill and decode on separate GPUs, joined, are not modelled yet";
    return Side::kBoth;
  }
  return prompts ? Side::kPrefill : Side::kDecode;
}

/// One side over whole nodes: every GPU is an attention replica unless the row says otherwise.
void read_one_side(const ServingRow& row, ServingLayout& layout) {
  if (!row.gpus || *row.gpus != *row.ep) {
    layout.problem = "the GPUs of the side are not stated";
    return;
  }
  layout.data = row.attention_dp.value_or(*row.gpus);
  if (!row.attention_dp) layout.assumed.emplace_back("attention copied to every GPU");
  layout.tensor = *row.gpus / layout.data;
}

/// A launch recipe that switches data-parallel attention on, where the row itself does not say.
bool recipe_copies_attention(const ServingRow& row) {
  return row.moe && !row.attention_dp &&
         row.notes.find("enable_attention_dp:true") != std::string::npos;
}

void read_both_sides(const ServingRow& row, ServingLayout& layout) {
  if (!row.tp || *row.tp < 1) {
    layout.problem = "tensor-parallel size not stated";
    return;
  }
  layout.tensor = *row.tp;
  layout.pipeline = row.pp.value_or(1);
  layout.data = row.attention_dp.value_or(1);
  if (recipe_copies_attention(row) && layout.tensor > 1) {
    layout.data = layout.tensor;
    layout.assumed.emplace_back("attention copied to every GPU, as in the recipe");
  }
  layout.engines = row.dp.value_or(1);
  const int alone = layout.tensor * layout.pipeline * layout.engines;
  const int gpus = row.gpus.value_or(alone * layout.data);
  if (gpus == alone && layout.data > 1 && layout.tensor % layout.data == 0) {
    layout.tensor /= layout.data;
  } else if (gpus != alone * layout.data) {
    layout.problem = layout.data == 1 ? fmt::format("{} GPUs, but tp x pp x dp is {}", gpus, alone)
                                      : fmt::format(
                                            "{} GPUs, but neither tp x pp x dp, {}, nor that times "
                                            "attention_dp, {}",
                                            gpus, alone, alone * layout.data);
  }
}

void read_experts(const ServingRow& row, ServingLayout& layout) {
  layout.ep_stated = row.ep.has_value();
  layout.expert_groups = row.ep.value_or(1);
  const int ranks = layout.tensor * layout.data;
  if (layout.expert_groups < 1 || ranks % layout.expert_groups != 0) {
    layout.problem = fmt::format("experts over {} of {} GPUs", layout.expert_groups, ranks);
  } else if (row.moe && !layout.ep_stated && ranks > 1) {
    layout.assumed.emplace_back("experts cut over tensor ranks");
  }
}

}  // namespace

ServingLayout layout_of(const ServingRow& row) {
  ServingLayout layout;
  layout.side = side_of(row, layout.problem);
  if (!layout.problem.empty()) return layout;
  if (layout.side == Side::kBoth) {
    read_both_sides(row, layout);
  } else {
    read_one_side(row, layout);
  }
  if (layout.problem.empty()) read_experts(row, layout);
  return layout;
}

void set_layout(const ServingLayout& layout, const ServingRow& row, const std::string& backend,
                const std::string& system, ScenarioKeys& keys) {
  keys.set_system(system, layout.gpus());
  const std::string instance = "deployment.instances.0.";
  keys.set(instance + "tensor_parallel_size", layout.tensor);
  keys.set(instance + "pipeline_parallel_size", layout.pipeline);
  keys.set(instance + "data_parallel_size", layout.data);
  keys.set(instance + "count", layout.engines);
  if (layout.side != Side::kBoth)
    keys.set(instance + "role", layout.side == Side::kPrefill ? "prefill" : "decode");
  if (row.moe && layout.expert_groups > 1) {
    if (backend == "vllm") {
      keys.set("engine.enable_expert_parallel", true);
    } else {
      keys.set(instance + "moe_expert_parallel_size", layout.expert_groups);
    }
  }
  if (!layout.wide()) return;
  // DeepEP's two kinds of kernels, as SGLang's `auto` takes them, over one NIC a GPU. Their
  // half batches overlap (two-batch overlap).
  keys.set("engine.all2all_backend",
           layout.side == Side::kPrefill ? "deepep_high_throughput" : "deepep_low_latency");
  keys.set("engine.enable_dbo", row.notes.find("without TBO") == std::string::npos);
  keys.set("system.network", "{preset: rail_optimized, link: ndr_400g}");
  if (backend != "sglang") return;
  // Launch commands of the published figures: sgl-project/sglang issue 6017, 2025-05.
  if (layout.side == Side::kPrefill) {
    keys.set("engine.max_total_tokens", 131072);
    keys.set("engine.max_running_requests", 8192);
  } else {
    keys.set("engine.mem_fraction_static", 0.835);
    keys.set("engine.cuda_graph_max_bs", 256);
  }
}

std::string layout_group(const ServingLayout& layout, const ServingRow& row) {
  if (!row.moe || layout.tensor * layout.data == 1) return "";
  if (layout.wide()) return "wide";
  if (layout.data > 1) return "attention copied";
  return layout.expert_groups > 1 ? "experts whole" : "experts cut";
}

}  // namespace moesim
