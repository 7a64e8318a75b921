#include "scenarios/routing_step_stats.h"

#include <algorithm>
#include <fmt/format.h>

#include "scenarios/routing_counts.h"
#include "scenarios/trace_text.h"

namespace moesim {
namespace {

constexpr std::uint16_t kLoop = 2;  ///< RoutedSequence::flags

std::size_t cells_of(const RoutingShape& shape) {
  return static_cast<std::size_t>(shape.layers) * static_cast<std::size_t>(shape.experts);
}

/// Loads of one layer in one step.
std::vector<double> layer_loads(const StepLoads& loads, std::size_t step, std::size_t layer) {
  const auto experts = static_cast<std::size_t>(loads.shape.experts);
  const auto at = loads.counts.begin() +
                  static_cast<std::ptrdiff_t>(step * cells_of(loads.shape) + layer * experts);
  return {at, at + static_cast<std::ptrdiff_t>(experts)};
}

double ratio(double a, double b) {
  return b > 0 ? a / b : 0;
}

/// What StepStats is made of, gathered step by step.
struct Samples {
  std::vector<double> cv, max, min, distinct, ranks, sglang, vllm;
};

void add_step(const StepLoads& loads, std::size_t step, int ranks, Samples& out) {
  double means = 0, maxima = 0, balance = 0, layers = 0;
  for (std::size_t layer = 0; layer < static_cast<std::size_t>(loads.shape.layers); ++layer) {
    const std::vector<double> load = layer_loads(loads, step, layer);
    const LoadStats stats = load_stats(load);
    if (stats.distinct == 0) continue;
    out.cv.push_back(stats.cv);
    out.max.push_back(stats.max_over_mean);
    out.min.push_back(stats.min_over_mean);
    out.distinct.push_back(stats.distinct);
    const std::vector<double> by_rank = rank_loads(load, ranks);
    double sum = 0;
    for (const double rank : by_rank) sum += rank;
    const double mean = sum / ranks, max = *std::max_element(by_rank.begin(), by_rank.end());
    out.ranks.push_back(max / mean);
    means += mean;
    maxima += max;
    balance += mean / max;
    ++layers;
  }
  if (layers == 0) return;
  out.sglang.push_back(balance / layers);
  out.vllm.push_back(ratio(means, maxima));
}

/// [window][layer] loads summed over the window's steps.
std::vector<std::vector<std::vector<double>>> windows_of(const StepLoads& loads,
                                                         std::size_t window) {
  std::vector<std::vector<std::vector<double>>> result;
  const auto layers = static_cast<std::size_t>(loads.shape.layers);
  for (std::size_t first = 0; first + window <= loads.steps.size(); first += window) {
    std::vector<std::vector<double>>& sums = result.emplace_back(
        layers, std::vector<double>(static_cast<std::size_t>(loads.shape.experts), 0.0));
    for (std::size_t step = first; step < first + window; ++step) {
      for (std::size_t layer = 0; layer < layers; ++layer) {
        const std::vector<double> load = layer_loads(loads, step, layer);
        for (std::size_t e = 0; e < load.size(); ++e) sums[layer][e] += load[e];
      }
    }
  }
  return result;
}

}  // namespace

StepLoads lockstep_loads(const RoutingTable& table, int requests, int steps) {
  std::vector<std::uint64_t> first_rows;
  for (const RoutedSequence& sequence : table.sequences) {
    const std::uint32_t decode = sequence.rows - sequence.prompt_rows;
    if ((sequence.flags & kLoop) != 0 || decode < static_cast<std::uint32_t>(steps)) continue;
    if (first_rows.size() == static_cast<std::size_t>(requests)) break;
    table.check_rows(sequence.first_row, sequence.rows);
    first_rows.push_back(sequence.first_row + sequence.prompt_rows);
  }
  if (first_rows.empty())
    refuse_file("lockstep", "", fmt::format("no sequence has {} decode rows", steps),
                "ask for fewer steps");
  StepLoads loads;
  loads.shape = table.shape();
  loads.physical = table.physical;
  loads.layer_ids = table.layer_ids;
  loads.model = table.model;
  const std::size_t cells = cells_of(table.shape());
  loads.counts.assign(static_cast<std::size_t>(steps) * cells, 0);
  std::vector<std::uint64_t> rows(first_rows.size());
  for (std::uint64_t step = 0; step < static_cast<std::uint64_t>(steps); ++step) {
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = first_rows[i] + step;
    count_rows(table, rows, std::span(loads.counts).subspan(step * cells, cells));
    StepLoads::Step entry;
    entry.number = step;
    entry.decode_tokens = static_cast<std::uint32_t>(rows.size());
    loads.steps.push_back(entry);
  }
  return loads;
}

StepStats step_stats(const StepLoads& loads, int ranks, std::size_t first_step, std::size_t steps) {
  Samples samples;
  const std::size_t begin = std::min(first_step, loads.steps.size());
  const std::size_t end = begin + std::min(steps, loads.steps.size() - begin);
  for (std::size_t step = begin; step < end; ++step) add_step(loads, step, ranks, samples);
  StepStats result;
  result.steps = samples.sglang.size();
  result.balancedness_sglang = spread_of(samples.sglang).mean;
  result.balancedness_vllm = spread_of(samples.vllm).mean;
  result.expert_cv = spread_of(std::move(samples.cv));
  result.expert_max_over_mean = spread_of(std::move(samples.max));
  result.expert_min_over_mean = spread_of(std::move(samples.min));
  result.distinct = spread_of(std::move(samples.distinct));
  result.rank_max_over_mean = spread_of(std::move(samples.ranks));
  return result;
}

std::vector<Drift> drift_of(const StepLoads& loads, std::size_t window) {
  const auto windows = windows_of(loads, std::max<std::size_t>(window, 1));
  std::vector<Drift> result;
  for (std::size_t lag = 1; lag < windows.size(); lag *= 2) {
    Drift drift;
    drift.lag = lag;
    for (std::size_t i = 0; i + lag < windows.size(); ++i) {
      double sum = 0;
      for (std::size_t layer = 0; layer < windows[i].size(); ++layer)
        sum += js_distance(windows[i][layer], windows[i + lag][layer]);
      drift.distance += sum / static_cast<double>(windows[i].size());
      ++drift.pairs;
    }
    drift.distance /= static_cast<double>(drift.pairs);
    result.push_back(drift);
  }
  return result;
}

std::vector<std::vector<double>> pooled_loads(const StepLoads& loads) {
  if (loads.steps.empty()) return {};
  return windows_of(loads, loads.steps.size()).front();
}

}  // namespace moesim
