#include "scenarios/routing_metadata.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>

namespace moesim {
namespace {

using nlohmann::json;

/// Said by the format itself, not about the trace.
constexpr std::array kFormatKeys = {"format",    "version", "mode",   "n_layers",
                                    "n_experts", "top_k",   "ranked", "n_shared_experts",
                                    "ids",       "sum"};

bool is_int(const json& value, std::int64_t most) {
  return value.is_number_unsigned() &&
         value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most);
}

std::string read_domain(const json& value, std::vector<RoutingDomain>& out) {
  if (!value.is_object() || !value.contains("id") || !is_int(value["id"], UINT16_MAX))
    return "domains: an item without an id from 0 to 65535";
  RoutingDomain domain;
  domain.id = value["id"].get<int>();
  for (const auto& [key, text] : {std::pair{"name", &domain.name}, {"group", &domain.group}}) {
    const auto at = value.find(key);
    if (at == value.end()) continue;
    if (!at->is_string()) return fmt::format("domains: {} of {} is not text", key, domain.id);
    *text = at->get<std::string>();
  }
  out.push_back(std::move(domain));
  return "";
}

std::string read_layer_ids(const json& list, std::vector<int>& out) {
  if (!list.is_array()) return "layer_ids is not a list";
  for (const json& id : list) {
    if (!is_int(id, INT32_MAX)) return "layer_ids holds something other than layer numbers";
    out.push_back(id.get<int>());
  }
  std::vector<int> sorted = out;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) return fmt::format("layer_ids names layer {} twice", *twice);
  return "";
}

std::string read_domains(const json& list, std::vector<RoutingDomain>& out) {
  if (!list.is_array()) return "domains is not a list";
  for (const json& item : list) {
    if (std::string problem = read_domain(item, out); !problem.empty()) return problem;
  }
  return "";
}

std::string read_key(const std::string& key, const json& value, RoutingMetadata& out) {
  if (key == "layer_ids") return read_layer_ids(value, out.layer_ids);
  if (key == "domains") return read_domains(value, out.domains);
  if (key == "model") {
    if (!value.is_string()) return "model is not text";
    out.model = value.get<std::string>();
    return "";
  }
  if (!is_int(value, kMostExperts)) return key + " is not a count";
  (key == "n_groups" ? out.groups : out.topk_groups) = value.get<int>();
  return "";
}

}  // namespace

std::string parse_metadata(std::string_view text, RoutingMetadata& out) {
  json object = json::parse(text, nullptr, false);
  if (object.is_discarded() || !object.is_object()) return "is not a JSON object";
  for (const char* const key : {"model", "n_groups", "topk_groups", "layer_ids", "domains"}) {
    const auto at = object.find(key);
    if (at == object.end()) continue;
    if (!at->is_null()) {
      if (std::string problem = read_key(key, *at, out); !problem.empty()) return problem;
    }
    object.erase(at);
  }
  out.free_sum = object.value("sum", json()) == "free";
  for (const char* const key : kFormatKeys) object.erase(key);
  out.rest = object.dump();
  return "";
}

std::string write_metadata(const RoutingMetadata& metadata) {
  json object = json::parse(metadata.rest, nullptr, false);
  if (!object.is_object()) object = json::object();
  if (!metadata.model.empty()) object["model"] = metadata.model;
  if (!metadata.layer_ids.empty()) object["layer_ids"] = metadata.layer_ids;
  if (metadata.groups > 0) object["n_groups"] = metadata.groups;
  if (metadata.topk_groups > 0) object["topk_groups"] = metadata.topk_groups;
  if (metadata.free_sum) object["sum"] = "free";
  for (const RoutingDomain& domain : metadata.domains)
    object["domains"].push_back(
        {{"id", domain.id}, {"name", domain.name}, {"group", domain.group}});
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::vector<ShapeProblem> shape_problems(const RoutingShape& shape) {
  std::vector<ShapeProblem> out;
  if (shape.layers < 1 || shape.layers > kMostLayers)
    out.push_back({"n_layers", fmt::format("{} layers, not 1 to {}", shape.layers, kMostLayers)});
  const bool experts = shape.experts >= 1 && shape.experts <= kMostExperts;
  if (!experts)
    out.push_back(
        {"n_experts", fmt::format("{} experts a layer, not 1 to {}", shape.experts, kMostExperts)});
  if (shape.top_k < 1 || (experts && shape.top_k > shape.experts))
    out.push_back({"top_k", fmt::format("top-{} of {} experts", shape.top_k, shape.experts)});
  if (shape.groups < 0 || (experts && shape.groups > 0 && shape.experts % shape.groups != 0))
    out.push_back({"n_groups", fmt::format("{} experts do not make {} equal groups", shape.experts,
                                           shape.groups)});
  if (shape.topk_groups < 0 || shape.topk_groups > shape.groups)
    out.push_back(
        {"topk_groups", fmt::format("{} chosen of {} groups", shape.topk_groups, shape.groups)});
  return out;
}

std::string order_domains(RoutingTable& table) {
  if (table.domains.empty()) return "";
  std::sort(table.domains.begin(), table.domains.end(),
            [](const RoutingDomain& a, const RoutingDomain& b) { return a.id < b.id; });
  std::map<int, std::uint16_t> place;
  for (std::size_t i = 0; i < table.domains.size(); ++i) {
    const auto [at, is_new] = place.emplace(table.domains[i].id, static_cast<std::uint16_t>(i));
    if (!is_new) return fmt::format("domain {} is listed twice", at->first);
    table.domains[i].id = static_cast<int>(i);
  }
  for (std::size_t s = 0; s < table.sequences.size(); ++s) {
    const auto at = place.find(table.sequences[s].domain);
    if (at == place.end())
      return fmt::format("sequence {} is of domain {}, which is not listed", s,
                         table.sequences[s].domain);
    table.sequences[s].domain = at->second;
  }
  return "";
}

}  // namespace moesim
