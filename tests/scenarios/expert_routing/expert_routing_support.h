#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <doctest/doctest.h>
#include <memory>
#include <string>
#include <vector>

#include "scenarios/expert_routing.h"
#include "scenarios/routing_load_stats.h"
#include "sim/base/reader.h"
#include "tests/scenarios/routing_support.h"

namespace moesim {

/// A kind from the section it is written as, in YAML. Throws InputError with its mistakes.
inline std::unique_ptr<ExpertRouting> kind_of(const std::string& section) {
  const Document document = Document::parse(section, "routing.yaml");
  Diagnostics diagnostics;
  Reader in(document, diagnostics);
  auto routing = read_expert_routing(in);
  in.reject_unknown_keys();
  diagnostics.throw_if_any();
  return routing;
}

inline std::string mistake_of(const std::string& section, const RoutingShape& shape) {
  try {
    kind_of(section)->check(shape);
  } catch (const InputError& error) {
    const Diagnostic& first = error.diagnostics().front();
    return first.key + ": " + first.problem + "; " + first.hint;
  }
  return "";
}

/// Choices of each expert at a layer; of rank `rank` only, or of all.
inline std::vector<double> counts_of(const RoutingTable& table, int layer, int rank = -1) {
  std::vector<double> counts(static_cast<std::size_t>(table.shape().experts), 0.0);
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    for (int r = 0; r < table.shape().top_k; ++r) {
      if (rank < 0 || r == rank) ++counts[static_cast<std::size_t>(table.expert(row, layer, r))];
    }
  }
  return counts;
}

/// Loads of ranks that hold consecutive experts.
inline std::vector<double> by_ranks(const std::vector<double>& counts, int ranks) {
  return rank_loads(counts, ranks);
}

inline double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// Population standard deviation over the mean.
inline double cv(const std::vector<double>& values) {
  const double m = mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - m) * (value - m);
  return std::sqrt(squares / static_cast<double>(values.size())) / m;
}

/// Correlation of two vectors of the same size.
inline double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double ma = mean(a), mb = mean(b);
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
  }
  return ab / std::sqrt(aa * bb);
}

/// Share of the choices of a row that another row has, too, at a layer.
inline double overlap(const RoutingTable& table, std::uint64_t a, std::uint64_t b, int layer) {
  const int k = table.shape().top_k;
  int shared = 0;
  for (int i = 0; i < k; ++i) {
    for (int j = 0; j < k; ++j)
      shared += table.expert(a, layer, i) == table.expert(b, layer, j) ? 1 : 0;
  }
  return static_cast<double>(shared) / k;
}

}  // namespace moesim
