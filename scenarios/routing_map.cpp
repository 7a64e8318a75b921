#include "scenarios/routing_map.h"

#include <algorithm>
#include <fmt/format.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "models/placement.h"
#include "scenarios/trace_text.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

namespace moesim {
namespace {

/// Experts a map names: one more than its largest number. The reader of placements says what is
/// wrong with a file that is no map.
int experts_in(const std::string& text) {
  nlohmann::json map = nlohmann::json::parse(text, nullptr, false);
  if (map.is_object()) map = map.value("physical_to_logical_map", nlohmann::json());
  std::uint64_t most = 0;
  for (const nlohmann::json& row : map) {
    for (const nlohmann::json& id : row) {
      if (id.is_number_unsigned()) most = std::max(most, id.get<std::uint64_t>());
    }
  }
  constexpr std::uint64_t kLargest = 65535;  // ids are 16 bit
  return static_cast<int>(std::min(most, kLargest)) + 1;
}

ExpertPlacement read_map(const std::filesystem::path& map, const std::string& file,
                         const RoutingShape& physical) {
  const int experts = experts_in(read_file(map));
  ExpertPlacement places;
  try {
    places = make_placement({.name = "file", .file = map.string()})
                 ->place({.layers = physical.layers, .experts = experts});
  } catch (const InputError& error) {
    constexpr std::string_view kKey = "placement.file";
    std::vector<Diagnostic> mistakes = error.diagnostics();
    for (Diagnostic& one : mistakes) {
      if (one.key.starts_with(kKey)) one.key.replace(0, kKey.size(), "--map");
    }
    throw InputError(std::move(mistakes));
  }
  if (places.slots != physical.experts)
    refuse_file(map.string(), "--map",
                fmt::format("{} slots a layer, {} has {}", places.slots, file, physical.experts),
                "give the map the trace was recorded with");
  if (experts < physical.top_k)
    refuse_file(map.string(), "--map",
                fmt::format("{} experts, tokens of {} choose {}", experts, file, physical.top_k),
                "give the map the trace was recorded with");
  return places;
}

RoutingTable logical(const RoutingTable& table, const ExpertPlacement& map,
                     const std::string& file) {
  table.check_all_rows();
  RoutingShape shape = table.shape();
  shape.experts = map.experts;
  RoutingTable out(shape, table.rows());
  std::vector<int> chosen(static_cast<std::size_t>(shape.top_k));
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    for (int layer = 0; layer < shape.layers; ++layer) {
      const auto slots = map.layer(layer);
      for (int rank = 0; rank < shape.top_k; ++rank) {
        const int expert = slots[static_cast<std::size_t>(table.expert(row, layer, rank))];
        if (std::find(chosen.begin(), chosen.begin() + rank, expert) != chosen.begin() + rank)
          refuse_file(file, "",
                      fmt::format("row {}, layer {}: two choices are copies of expert {}", row,
                                  layer, expert),
                      "give the map the trace was recorded with");
        chosen[static_cast<std::size_t>(rank)] = expert;
        out.set(row, layer, rank, expert);
      }
    }
  }
  out.sequences = table.sequences;
  out.sequences_with_gaps = table.sequences_with_gaps;
  out.domains = table.domains;
  out.weights = table.weights;
  out.ranked = table.ranked;
  out.shared_experts = table.shared_experts;
  out.layer_ids = table.layer_ids;
  out.model = table.model;
  out.metadata = table.metadata;
  return out;
}

StepLoads logical(StepLoads loads, const ExpertPlacement& map, const std::string& file) {
  const auto layers = static_cast<std::size_t>(loads.shape.layers);
  const auto slots = static_cast<std::size_t>(map.slots);
  const auto experts = static_cast<std::size_t>(map.experts);
  std::vector<std::uint32_t> counts(loads.steps.size() * layers * experts);
  for (std::size_t i = 0; i < loads.counts.size(); ++i) {
    const std::size_t row = i / slots;  // [step][layer]
    std::uint32_t& sum = counts[row * experts + map.logical[row % layers * slots + i % slots]];
    if (loads.counts[i] > std::numeric_limits<std::uint32_t>::max() - sum)
      refuse_file(file, "", "counts of an expert's copies add up to 2^32 or more",
                  "counts have to stay below 2^32");
    sum += loads.counts[i];
  }
  loads.counts = std::move(counts);
  loads.shape.experts = map.experts;
  loads.physical = false;
  return loads;
}

}  // namespace

RoutingTrace to_logical(RoutingTrace trace, const std::string& file,
                        const std::filesystem::path& map) {
  const bool physical = std::visit([](const auto& data) { return data.physical; }, trace);
  if (!physical)
    refuse_file(file, "ids", "are logical already: a map of copies has no effect",
                "leave --map out");
  if (const auto* const table = std::get_if<RoutingTable>(&trace))
    return logical(*table, read_map(map, file, table->shape()), file);
  StepLoads& loads = std::get<StepLoads>(trace);
  const ExpertPlacement places = read_map(map, file, loads.shape);
  return logical(std::move(loads), places, file);
}

}  // namespace moesim
