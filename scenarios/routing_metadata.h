#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scenarios/routing_table.h"

// Private to the readers and writers of routing traces.

namespace moesim {

/// What a trace says about itself in JSON, beside its shape: the metadata of an MRT file, the
/// header line of a JSONL one.
struct RoutingMetadata {
  std::string model;
  std::vector<int> layer_ids;
  int groups = 0, topk_groups = 0;  ///< keys n_groups, topk_groups
  std::vector<RoutingDomain> domains;
  bool free_sum = false;    ///< key sum: "free"
  std::string rest = "{}";  ///< the other keys, as a JSON object
};

/// Reads a JSON object. Returns what is wrong, beginning with its key, or "".
[[nodiscard]] std::string parse_metadata(std::string_view json, RoutingMetadata& out);
/// One line of JSON, keys sorted.
[[nodiscard]] std::string write_metadata(const RoutingMetadata& metadata);

/// What is wrong with a shape: counts out of range, K > E, groups that do not divide. `key` is the
/// one of the text forms.
struct ShapeProblem {
  const char* key;
  std::string problem;
};
[[nodiscard]] std::vector<ShapeProblem> shape_problems(const RoutingShape& shape);
/// Limits of a shape: two bytes an id, and far more layers than any model has.
inline constexpr int kMostExperts = 65536;
inline constexpr int kMostLayers = 4096;

/// Domains in order of their ids, which become 0, 1, ...; the sequences follow. Returns what is
/// wrong (a sequence of a domain that is not listed, an id listed twice), or "". Without domains
/// nothing is done.
[[nodiscard]] std::string order_domains(RoutingTable& table);

}  // namespace moesim
