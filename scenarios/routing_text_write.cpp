#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "scenarios/routing_metadata.h"
#include "scenarios/routing_trace.h"

// Routing traces as text (routing-traces.md 1.1, 1.2).

namespace moesim {
namespace {

using nlohmann::ordered_json;

std::string dumped(const ordered_json& object) {
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

const char* ids_word(bool physical) {
  return physical ? "physical" : "logical";
}

std::string header_line(const RoutingTable& table) {
  const RoutingShape& shape = table.shape();
  ordered_json header = {
      {"format", "moe-routing-trace"}, {"version", 1},
      {"mode", "per_token"},           {"model", table.model},
      {"n_layers", shape.layers},      {"n_experts", shape.experts},
      {"top_k", shape.top_k},          {"n_shared_experts", table.shared_experts},
      {"ranked", table.ranked},        {"ids", ids_word(table.physical)}};
  header.update(ordered_json::parse(write_metadata(
      {table.model, table.layer_ids, shape.groups, shape.topk_groups, {}, false, table.metadata})));
  return dumped(header);
}

std::string sequence_line(const RoutingTable& table, std::size_t number) {
  const RoutedSequence& sequence = table.sequences[number];
  ordered_json line = {{"seq", number}};
  const auto domain =
      std::find_if(table.domains.begin(), table.domains.end(),
                   [&](const RoutingDomain& candidate) { return candidate.id == sequence.domain; });
  if (domain != table.domains.end()) {
    line["domain"] = domain->name;
    line["group"] = domain->group;
  }
  line["first_pos"] = sequence.first_position;
  line["prompt_rows"] = sequence.prompt_rows;
  line["rows"] = sequence.rows;
  line["source_id"] = sequence.source_id;
  line["flags"] = sequence.flags;
  return dumped(line);
}

/// "[[1,2],[3,4]]": a value for every layer and rank.
template <class Value>
void append_lists(std::string& out, const RoutingShape& shape, const Value& value) {
  const auto to = std::back_inserter(out);
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int rank = 0; rank < shape.top_k; ++rank) {
      const char* const before = rank > 0 ? "," : layer > 0 ? "],[" : "[[";
      fmt::format_to(to, "{}{}", before, value(layer, rank));
    }
  }
  out += "]]";
}

void append_row(std::string& out, const RoutingTable& table, std::size_t number,
                std::uint32_t index) {
  const RoutedSequence& sequence = table.sequences[number];
  const std::uint64_t row = sequence.first_row + index;
  const auto to = std::back_inserter(out);
  fmt::format_to(to, R"({{"seq":{},"pos":{})", number,
                 std::uint64_t{sequence.first_position} + index);
  if (sequence.prompt_rows > 0)
    fmt::format_to(to, R"(,"ph":"{}")", index < sequence.prompt_rows ? 'p' : 'd');
  out += R"(,"e":)";
  append_lists(out, table.shape(),
               [&](int layer, int rank) { return table.expert(row, layer, rank); });
  if (!table.weights.empty()) {
    out += R"(,"w":)";
    const float* const first = &table.weights[row * table.row_cells()];
    append_lists(out, table.shape(),
                 [&](int layer, int rank) { return first[layer * table.shape().top_k + rank]; });
  }
  out += "}\n";
}

}  // namespace

std::string write_routing_jsonl(const RoutingTable& table) {
  std::string out = header_line(table);
  for (std::size_t number = 0; number < table.sequences.size(); ++number) {
    out += sequence_line(table, number);
    for (std::uint32_t index = 0; index < table.sequences[number].rows; ++index)
      append_row(out, table, number, index);
  }
  return out;
}

std::string write_routing_csv(const StepLoads& loads) {
  std::string model = loads.model.empty() ? "unknown" : loads.model;
  std::replace_if(
      model.begin(), model.end(), [](char c) { return c <= ' ' || c == ','; }, '_');
  std::string out = fmt::format(
      "# format=moe-routing-trace version=1 mode=step_load model={} n_layers={} n_experts={} "
      "top_k={} ids={}{}\nstep,t_us,prefill_tokens,decode_tokens,layer,expert,count\n",
      model, loads.shape.layers, loads.shape.experts, loads.shape.top_k, ids_word(loads.physical),
      loads.free_sum ? " sum=free" : "");
  const auto to = std::back_inserter(out);
  std::size_t at = 0;
  for (const StepLoads::Step& step : loads.steps) {
    const std::string head = fmt::format("{},{},{},{}", step.number, step.time_us,
                                         step.prefill_tokens, step.decode_tokens);
    bool any = false;
    for (int layer = 0; layer < loads.shape.layers; ++layer) {
      for (int expert = 0; expert < loads.shape.experts; ++expert, ++at) {
        if (loads.counts[at] == 0) continue;
        any = true;
        fmt::format_to(to, "{},{},{},{}\n", head, layer, expert, loads.counts[at]);
      }
    }
    if (!any) fmt::format_to(to, "{},0,0,0\n", head);  // a step without tokens keeps its place
  }
  return out;
}

}  // namespace moesim
