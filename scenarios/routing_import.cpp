#include "scenarios/routing_import.h"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <utility>

#include "models/hf_config.h"
#include "models/model.h"
#include "scenarios/trace_text.h"

namespace moesim {

MoeLayers read_moe_layers(const std::filesystem::path& config) {
  const std::string file = config.string();
  std::error_code error;
  const bool is_file = std::filesystem::exists(config, error);
  const ModelSpec model =
      load_model(is_file ? std::filesystem::absolute(config).string() : file, "", {file, 0, 0});
  MoeLayers result;
  result.model = model.id;
  result.all_layers = model.num_layers();
  for (int i = 0; i < model.num_layers(); ++i) {
    const LayerSpec& layer = model.layers[static_cast<std::size_t>(i)];
    if (!layer.moe) continue;
    if (!result.layer_ids.empty() &&
        (layer.num_experts != result.shape.experts || layer.top_k != result.shape.top_k))
      refuse_file(file, "", "layers have different numbers of experts",
                  "a routing trace has one number of experts and choices for all layers");
    result.layer_ids.push_back(i);
    result.shape.experts = layer.num_experts;
    result.shape.top_k = layer.top_k;
    if (layer.shared_intermediate > 0)
      result.shared_experts =
          std::max(1, layer.shared_intermediate / std::max(1, layer.expert_intermediate));
  }
  result.shape.layers = static_cast<int>(result.layer_ids.size());
  if (result.shape.layers == 0)
    refuse_file(file, "", "the model has no routed experts",
                "give the config.json of an MoE model");
  if (model.router.groups > 1) {
    result.shape.groups = model.router.groups;
    result.shape.topk_groups = model.router.topk_groups;
  }
  return result;
}

namespace {

/// Distinct choices of a layer? A row of zeros is what engines leave where nothing ran.
bool is_choice(const std::int64_t* ids, std::size_t top_k) {
  for (std::size_t i = 0; i < top_k; ++i) {
    if (std::find(ids, ids + i, ids[i]) != ids + i) return false;
  }
  return true;
}

}  // namespace

void RoutedRequests::add_choice(const std::int64_t* ids, std::size_t token, int layer,
                                const std::string& file) {
  const auto top_k = static_cast<std::size_t>(layers_.shape.top_k);
  const bool known = std::all_of(
      ids, ids + top_k, [&](std::int64_t id) { return id >= 0 && id < layers_.shape.experts; });
  if (!known || !is_choice(ids, top_k))
    refuse_file(file, "",
                fmt::format("token {}, layer {}: ids are not {} distinct experts of {}", token,
                            layer, top_k, layers_.shape.experts),
                "ids have to be logical experts (without the slots of redundant ones)");
  for (std::size_t i = 0; i < top_k; ++i) ids_.push_back(static_cast<std::uint16_t>(ids[i]));
}

std::uint32_t RoutedRequests::add_rows(const IntArray& array, const std::string& file,
                                       bool last_is_unrun) {
  if (array.values.empty()) return 0;
  const auto top_k = static_cast<std::size_t>(layers_.shape.top_k);
  const auto all = static_cast<std::size_t>(layers_.all_layers);
  const bool only_moe =
      array.shape.size() == 3 && array.shape[1] == static_cast<std::size_t>(layers_.shape.layers);
  if (array.shape.size() != 3 || (!only_moe && array.shape[1] != all) || array.shape[2] != top_k) {
    std::string shape;
    for (const std::size_t n : array.shape)
      shape += (shape.empty() ? "" : " x ") + std::to_string(n);
    refuse_file(file, "",
                fmt::format("routed experts are {}, not tokens x {} x {}", shape, all, top_k),
                "give the config.json of the model that was served");
  }
  std::size_t rows = array.shape[0];
  const std::size_t stride = array.shape[1] * top_k;
  const auto cell = [&](std::size_t row, std::size_t layer) {
    const std::size_t at = only_moe ? layer : static_cast<std::size_t>(layers_.layer_ids[layer]);
    return &array.values[row * stride + at * top_k];
  };
  if (last_is_unrun && top_k > 1 && !is_choice(cell(rows - 1, 0), top_k)) {
    --rows;  // the last generated token was never fed back: a filler stands for it
    ++unrun_;
  }
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t layer = 0; layer < layers_.layer_ids.size(); ++layer)
      add_choice(cell(row, layer), row, layers_.layer_ids[layer], file);
  }
  return static_cast<std::uint32_t>(rows);
}

void RoutedRequests::add(const IntArray& prompt, const IntArray& decode, const std::string& file,
                         const std::string& domain) {
  constexpr std::uint16_t kContiguous = 4;
  RoutedSequence sequence;
  sequence.first_row = rows_;
  sequence.prompt_rows = add_rows(prompt, file, false);
  sequence.rows = sequence.prompt_rows + add_rows(decode, file, true);
  sequence.flags = kContiguous;
  sequence.source_id = sequences_.size();
  if (sequence.rows == 0) return;
  const auto known = std::find_if(domains_.begin(), domains_.end(),
                                  [&](const RoutingDomain& d) { return d.name == domain; });
  sequence.domain = static_cast<std::uint16_t>(known - domains_.begin());
  if (known == domains_.end())
    domains_.push_back({static_cast<int>(domains_.size()), domain, domain});
  rows_ += sequence.rows;
  sequences_.push_back(sequence);
}

RoutingTable RoutedRequests::table(const std::string& capture) const {
  RoutingTable table(layers_.shape, rows_);
  std::size_t at = 0;
  for (std::uint64_t row = 0; row < rows_; ++row) {
    for (int layer = 0; layer < layers_.shape.layers; ++layer) {
      for (int rank = 0; rank < layers_.shape.top_k; ++rank)
        table.set(row, layer, rank, ids_[at++]);
    }
  }
  table.sequences = sequences_;
  const bool any_domain = domains_.size() > 1 || (!domains_.empty() && !domains_[0].name.empty());
  if (any_domain) table.domains = domains_;
  table.ranked = false;  // engines do not promise an order
  table.shared_experts = layers_.shared_experts;
  table.layer_ids = layers_.layer_ids;
  table.model = layers_.model;
  table.metadata = nlohmann::json{{"capture", capture}}.dump();
  return table;
}

}  // namespace moesim
