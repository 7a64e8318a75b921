#include "scenarios/routing_load_table.h"

#include <algorithm>
#include <fmt/format.h>
#include <limits>
#include <set>

#include "scenarios/routing_import.h"
#include "scenarios/routing_metadata.h"
#include "scenarios/trace_text.h"

namespace moesim {

void LoadTable::add(std::uint64_t layer, std::uint64_t expert, std::uint64_t count) {
  counts_[{layer, expert}] += count;
}

void LoadTable::add_csv(std::string_view text, const std::string& file, const Columns& columns) {
  TraceMistakes mistakes(file);
  Lines lines(text);
  std::vector<std::string_view> header, fields;
  bool any = lines.next();
  while (any && trimmed(lines.line()).starts_with('#')) any = lines.next();
  if (any) split_csv(lines.line(), header);
  std::size_t place[3] = {};
  const char* const names[3] = {columns.layer, columns.expert, columns.count};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto at = std::find(header.begin(), header.end(), names[i]);
    place[i] = static_cast<std::size_t>(at - header.begin());
    if (at == header.end())
      mistakes.add(lines.number(), names[i], "missing column",
                   fmt::format("the header names {},{},{}", names[0], names[1], names[2]));
  }
  mistakes.throw_if_any();
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (std::find(place, place + 3, i) == place + 3 && header[i] != "model")
      ignored_.emplace_back(header[i]);
  }
  const std::size_t width = header.size();
  const auto model = static_cast<std::size_t>(std::ranges::find(header, "model") - header.begin());
  std::string_view first_model;
  constexpr std::uint64_t kMostCount = std::numeric_limits<std::uint32_t>::max();
  const std::uint64_t most[3] = {kMostLayers, kMostExperts - 1, kMostCount};
  while (lines.next()) {
    split_csv(lines.line(), fields);
    std::uint64_t values[3] = {};
    bool good = fields.size() == width;
    for (std::size_t i = 0; good && i < 3; ++i) {
      const auto value = parse_whole(fields[place[i]]);
      good = value.has_value() && *value <= most[i];
      values[i] = value.value_or(0);
    }
    if (good && model < width) {
      if (first_model.empty()) first_model = fields[model];
      if (fields[model] != first_model) {
        mistakes.add(lines.number(), "model",
                     fmt::format("{} after rows of {}", shown(fields[model]), shown(first_model)),
                     "loads of two models do not add up: split the file, one model each");
        break;
      }
    }
    if (good) {
      add(values[0], values[1], values[2]);
    } else {
      mistakes.add(lines.number(), "", shown(lines.line()) + " is no row of counts",
                   "a layer, an expert and a count, whole numbers");
    }
  }
  mistakes.throw_if_any();
}

StepLoads LoadTable::loads(const std::filesystem::path& config, const std::string& file) const {
  if (counts_.empty()) refuse_file(file, "", "no counts", "give at least one");
  StepLoads loads;
  loads.shape.top_k = 1;
  std::set<int> layers;
  for (const auto& [place, count] : counts_) {
    layers.insert(static_cast<int>(place.first));
    loads.shape.experts = std::max(loads.shape.experts, static_cast<int>(place.second) + 1);
  }
  if (!config.empty()) {
    const MoeLayers model = read_moe_layers(config);
    if (loads.shape.experts > model.shape.experts)
      refuse_file(
          file, "",
          fmt::format("expert {} of a model with {}", loads.shape.experts - 1, model.shape.experts),
          "physical experts (with redundant ones) need their map to logical ones first");
    loads.shape.experts = model.shape.experts;
    loads.shape.top_k = model.shape.top_k;
    loads.model = model.model;
  }
  loads.layer_ids.assign(layers.begin(), layers.end());
  loads.shape.layers = static_cast<int>(layers.size());
  loads.free_sum = true;
  loads.counts.assign(layers.size() * static_cast<std::size_t>(loads.shape.experts), 0);
  std::uint64_t all = 0;
  for (const auto& [place, count] : counts_) {
    if (count > std::numeric_limits<std::uint32_t>::max())
      refuse_file(file, "",
                  fmt::format("layer {}, expert {}: {} tokens", place.first, place.second, count),
                  "counts have to stay below 2^32");
    const auto layer = static_cast<std::size_t>(
        std::distance(layers.begin(), layers.find(static_cast<int>(place.first))));
    loads.counts[layer * static_cast<std::size_t>(loads.shape.experts) + place.second] =
        static_cast<std::uint32_t>(count);
    all += count;
  }
  // Tokens as far as the counts tell: the mean over layers of their sum over the choices.
  StepLoads::Step step;
  const std::uint64_t tokens = all / static_cast<std::uint64_t>(loads.shape.layers) /
                               static_cast<std::uint64_t>(loads.shape.top_k);
  step.decode_tokens = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(tokens, std::numeric_limits<std::uint32_t>::max()));
  loads.steps.push_back(step);
  return loads;
}

bool is_json_object(const std::string& content) {
  const std::size_t begin = content.find_first_not_of(" \t\r\n");
  return begin != std::string::npos && content[begin] == '{';
}

}  // namespace moesim
