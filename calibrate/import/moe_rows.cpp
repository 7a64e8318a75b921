#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <map>
#include <optional>
#include <tuple>

#include "calibrate/import/expert_loads.h"
#include "calibrate/import/kernel_rows.h"
#include "hardware/forms.h"
#include "hardware/tuned_experts.h"

namespace moesim {

namespace {

/// Loads of layers met before: sweeps repeat them for every hidden size and number format.
class Loads {
 public:
  const RankLoad& of(const RoutedLayer& l) {
    const auto key = std::tuple(l.tokens, l.topk, l.experts, l.ep, l.distribution, l.leftovers);
    const auto [place, fresh] = known_.try_emplace(key);
    if (fresh) place->second = rank_load(l);
    return place->second;
  }

 private:
  std::map<std::tuple<int, int, int, int, std::string, Leftovers>, RankLoad> known_;
};

int whole(KernelTable& table, std::size_t row, const char* column, SizeRange range = {},
          std::optional<double> otherwise = std::nullopt) {
  return static_cast<int>(table.size(row, {column}, range, otherwise));
}

void set_load(KernelShape& shape, const RankLoad& load) {
  shape.pairs = load.pairs;
  shape.active = load.active;
  shape.above_64 = load.above_64;
  shape.above_256 = load.above_256;
}

void set_format(KernelSample& sample) {
  sample.shape.weight_bytes = weight_bytes_of(sample.dtype);
  sample.shape.input_bytes = input_bytes_of(sample.dtype);
}

/// The A100's tables were taken by older collectors. Which, shows in the data: the number of
/// experts that their smallest batches must have streamed.
Leftovers leftovers_of(const std::string& system, const std::string& framework) {
  if (!system.starts_with("a100")) return Leftovers::to_ranks_in_turn;
  if (framework == "vllm") return Leftovers::to_first;
  return framework == "trtllm" ? Leftovers::to_largest : Leftovers::to_ranks_in_turn;
}

/// DeepGEMM's contiguous layout with uniform routing takes the same 390 us at 256 tokens on 2, 4
/// and 8 ranks, the time to read the 32 experts that one of 8 ranks holds: a fifth to a third of
/// all other routings on 2 and 4, and of what their 128 and 64 experts take to read.
bool ran_too_few_experts(const std::string& phase, const RoutedLayer& layer) {
  return phase == "context" && layer.distribution == "uniform" && layer.ep < 8;
}

void read_collected(KernelTable& table, KernelSamples& out) {
  // DeepGEMM's tables have a phase (masked or contiguous layout) and no kernel, tp or gate.
  const bool deepgemm = table.has("phase");
  Loads loads;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    KernelSample sample;
    sample.system = table.system();
    sample.framework = deepgemm ? "sglang" : table.text(row, {"src", "framework"});
    sample.op = deepgemm ? "moe_deepgemm" : "moe";
    sample.kernel = table.text(row, {deepgemm ? "phase" : "kernel"});
    sample.dtype = table.format(row, {"dtype", "moe_dtype"});
    set_format(sample);
    RoutedLayer layer;
    layer.tokens = whole(table, row, "tokens", kTokenCount);
    layer.topk = whole(table, row, "topk", kExpertCount);
    layer.experts = whole(table, row, "experts", kExpertCount);
    layer.ep = whole(table, row, "ep", kExpertCount, 1);
    layer.distribution = table.text(row, {"dist"});
    layer.leftovers = leftovers_of(sample.system, sample.framework);
    const int tp = whole(table, row, "tp", {}, 1);
    KernelShape& shape = sample.shape;
    shape.tokens = layer.tokens;
    shape.topk = layer.topk;
    shape.total_experts = layer.experts;
    shape.experts = static_cast<double>(layer.experts) / layer.ep;
    shape.hidden = whole(table, row, "hidden");
    shape.inter = static_cast<double>(whole(table, row, "inter")) / tp;
    shape.matrices = table.number(row, {"gated"}, 1) != 0 ? 3 : 2;
    if (sample.kernel == "triton" && sample.dtype == "bfloat16")
      shape.tuned =
          is_tuned(tuned_experts(sample.framework, sample.system), shape.experts, shape.inter);
    sample.shape_key = fmt::format("h{} i{} m{} k{} e{}/{} tp{}", shape.hidden, shape.inter * tp,
                                   shape.matrices, layer.topk, layer.experts, layer.ep, tp);
    sample.seconds = table.microseconds(row, {"latency_us"}) * 1e-6;
    sample.suspect = table.number(row, {"suspect"}, 0) != 0;
    if (layer.experts % layer.ep != 0) {
      table.mistake(row, "ep", "does not divide the experts");
    } else if (layer.topk > layer.experts) {
      table.mistake(row, "topk", "more than there are experts");
    } else if (!known_distribution(layer.distribution)) {
      table.mistake(row, "dist", "unknown distribution '" + layer.distribution + "'");
    } else {
      set_load(shape, loads.of(layer));
      if (deepgemm && ran_too_few_experts(sample.kernel, layer)) sample.suspect = true;
    }
    out.samples.push_back(std::move(sample));
  }
}

/// vLLM's layer profiles, CARD-MODEL/tpN/moe.csv: tokens and how many experts they fall on. Sizes
/// are those of the one MoE model among them (config.json of Qwen3-30B-A3B).
struct ProfiledMoe {
  const char* folder;  ///< how CARD-MODEL ends
  double hidden, inter, experts, topk;
};
constexpr ProfiledMoe kProfiled[] = {{"-qwen3-30b-a3b", 2048, 768, 128, 8}};

struct Card {
  const char* folder;  ///< how CARD-MODEL starts
  const char* system;
};
constexpr Card kCards[] = {{"rtxpro6000-", "rtx_pro_6000"}, {"rtx4090-", "rtx_4090"}};

/// N of the folder tpN; 0 if it is not named so.
double tp_in(const std::string& folder) {
  if (!folder.starts_with("tp")) return 0;
  int n = 0;
  const char* const end = folder.data() + folder.size();
  const auto [stop, error] = std::from_chars(folder.data() + 2, end, n);
  return error == std::errc() && stop == end && n > 0 ? n : 0;
}

KernelSample profiled(const std::string& system, const ProfiledMoe& model, double tp) {
  KernelSample sample;
  sample.system = system;
  sample.framework = "vllm";
  sample.op = "moe";
  sample.kernel = "triton";
  sample.dtype = "bfloat16";
  set_format(sample);
  sample.shape.hidden = model.hidden;
  sample.shape.inter = model.inter / tp;
  sample.shape.topk = model.topk;
  sample.shape.experts = sample.shape.total_experts = model.experts;
  return sample;
}

void read_profile(KernelTable& table, KernelSamples& out) {
  const std::string folder = table.path().parent_path().parent_path().filename().string();
  const double tp = tp_in(table.path().parent_path().filename().string());
  const auto model = std::ranges::find_if(
      kProfiled, [&](const ProfiledMoe& m) { return folder.ends_with(m.folder); });
  const auto card =
      std::ranges::find_if(kCards, [&](const Card& c) { return folder.starts_with(c.folder); });
  if (model == std::end(kProfiled) || card == std::end(kCards) || tp == 0) {
    out.notes.push_back(
        {table.path().string() + ": not in a folder CARD-MODEL/tpN known here", table.rows()});
    return;
  }
  for (std::size_t row = 0; row < table.rows(); ++row) {
    KernelSample sample = profiled(card->system, *model, tp);
    KernelShape& shape = sample.shape;
    shape.tokens = whole(table, row, "tokens");
    shape.active = whole(table, row, "activated_experts");
    shape.pairs = shape.tokens * shape.topk;
    if (shape.active > std::min(shape.pairs, shape.experts))
      table.mistake(row, "activated_experts", "more than pairs or experts");
    shape.above_64 = std::max(0.0, shape.pairs - 64 * shape.active);
    shape.above_256 = std::max(0.0, shape.pairs - 256 * shape.active);
    sample.shape_key = fmt::format("active {}", shape.active);
    sample.seconds = table.microseconds(row, {"time_us"}) * 1e-6;
    out.samples.push_back(std::move(sample));
  }
}

}  // namespace

void read_moe_rows(KernelTable& table, KernelSamples& out) {
  if (table.has("activated_experts"))
    read_profile(table, out);
  else
    read_collected(table, out);
}

}  // namespace moesim
