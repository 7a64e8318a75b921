#pragma once

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "scenarios/routing_table.h"
#include "sim/base/diagnostic.h"

namespace moesim {

/// Real routing data, or an empty path where it is missing.
inline std::filesystem::path routing_data(const std::string& name) {
  std::filesystem::path path =
      std::filesystem::path(MOESIM_SHARED_DIR) / "data" / "traces" / "routing" / name;
  return std::filesystem::exists(path) ? path : std::filesystem::path();
}

/// Says in the test's output that real data is missing. Use: if (is_missing(path)) return;
inline bool is_missing(const std::filesystem::path& path) {
  if (path.empty()) MESSAGE("skipped: no routing traces in ../shared/data/traces/routing");
  return path.empty();
}

/// A small table: 2 layers, 5 experts, top-2; two sequences (3 rows of which 1 prompt; 2 rows).
inline RoutingTable small_table() {
  RoutingTable table({.layers = 2, .experts = 5, .top_k = 2}, 5);
  for (std::uint64_t row = 0; row < 5; ++row) {
    for (int layer = 0; layer < 2; ++layer) {
      table.set(row, layer, 0, static_cast<int>(row + static_cast<std::uint64_t>(layer)) % 5);
      table.set(row, layer, 1, static_cast<int>(row + static_cast<std::uint64_t>(layer) + 2) % 5);
    }
  }
  table.sequences = {{0, 3, 10, 1, 0, 4, 77}, {3, 2, 0, 0, 1, 5, 78}};
  table.domains = {{0, "code/python", "code"}, {1, "math", "math"}};
  table.model = "tiny";
  table.layer_ids = {1, 2};
  table.metadata = R"({"license":"none"})";
  return table;
}

inline bool same_rows(const RoutingTable& a, const RoutingTable& b) {
  if (!(a.shape() == b.shape()) || a.rows() != b.rows()) return false;
  for (std::uint64_t row = 0; row < a.rows(); ++row) {
    for (int layer = 0; layer < a.shape().layers; ++layer) {
      for (int rank = 0; rank < a.shape().top_k; ++rank) {
        if (a.expert(row, layer, rank) != b.expert(row, layer, rank)) return false;
      }
    }
  }
  return true;
}

/// Sequences, their domains' names and what the table says of itself.
inline std::string describe(const RoutingTable& table) {
  std::string text = table.model + (table.ranked ? " ranked" : "") +
                     (table.physical ? " physical" : "") + " " + table.metadata;
  for (const int id : table.layer_ids) text += " " + std::to_string(id);
  for (const RoutedSequence& s : table.sequences) {
    text += "\n" + std::to_string(s.first_row) + " " + std::to_string(s.rows) + " " +
            std::to_string(s.first_position) + " " + std::to_string(s.prompt_rows) + " " +
            std::to_string(s.flags) + " " + std::to_string(s.source_id);
    if (!table.domains.empty())
      text += " " + table.domains[s.domain].name + " of " + table.domains[s.domain].group;
  }
  return text;
}

/// What `a` says of `b`, two columns of experts: mutual information over the entropy of `b`.
inline double information_share(const std::vector<int>& a, const std::vector<int>& b, int experts) {
  const auto n = static_cast<std::size_t>(experts);
  const double one = 1.0 / static_cast<double>(a.size());
  std::vector<double> joint(n * n), of_a(n), of_b(n);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<std::size_t>(a[i]), y = static_cast<std::size_t>(b[i]);
    joint[x * n + y] += one;
    of_a[x] += one;
    of_b[y] += one;
  }
  double information = 0, entropy = 0;
  for (std::size_t y = 0; y < n; ++y) {
    if (of_b[y] > 0) entropy -= of_b[y] * std::log(of_b[y]);
    for (std::size_t x = 0; x < n; ++x) {
      const double p = joint[x * n + y];
      if (p > 0) information += p * std::log(p / (of_a[x] * of_b[y]));
    }
  }
  return information / entropy;
}

/// The same of the first choices `distance` layers apart, mean over layers, of all rows.
inline double layer_information(const RoutingTable& table, int distance) {
  const int pairs = table.shape().layers - distance;
  double sum = 0;
  for (int layer = 0; layer < pairs; ++layer) {
    std::vector<int> a, b;
    for (std::uint64_t row = 0; row < table.rows(); ++row) {
      a.push_back(table.expert(row, layer, 0));
      b.push_back(table.expert(row, layer + distance, 0));
    }
    sum += information_share(a, b, table.shape().experts);
  }
  return sum / pairs;
}

/// First mistake of a call that should throw InputError; empty if it does not.
template <class Call>
Diagnostic first_mistake(const Call& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.diagnostics().front();
  }
  return {};
}

}  // namespace moesim
