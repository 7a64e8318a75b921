#include "scenarios/latent_fit.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "scenarios/expert_routing.h"
#include "scenarios/latent_tokens.h"
#include "scenarios/load_drift.h"
#include "scenarios/routing_counts.h"
#include "sim/base/check.h"

namespace moesim {
namespace {

constexpr std::uint32_t kRows = 200;  ///< of a sequence: as the shipped fit was made
constexpr std::uint32_t kFar = 8;
constexpr int kSequences = 100;
constexpr std::uint64_t kSeed = 1;  // the same tokens in every round, so that rounds compare

/// Sums over sequences behind Overlaps, one layer.
struct Sums {
  double adjacent = 0, eight = 0, same = 0;
  std::vector<double> all;  ///< [expert]
};

int shared(const RoutingTable& table, std::uint64_t a, std::uint64_t b, int layer) {
  const int top_k = table.shape().top_k;
  int count = 0;
  for (int i = 0; i < top_k; ++i) {
    const int expert = table.expert(a, layer, i);
    for (int j = 0; j < top_k; ++j) count += table.expert(b, layer, j) == expert ? 1 : 0;
  }
  return count;
}

/// Tokens, and pairs of them, of the sequences counted.
struct Pairs {
  double tokens = 0, squares = 0, same = 0, adjacent = 0, eight = 0;
};

void add(const RoutingTable& table, std::uint64_t first, std::uint32_t rows,
         std::vector<Sums>& sums) {
  const auto experts = static_cast<std::size_t>(table.shape().experts);
  std::vector<std::uint32_t> counts(sums.size() * experts);
  count_run(table, first, rows, counts);
  for (std::size_t l = 0; l < sums.size(); ++l) {
    const auto layer = static_cast<int>(l);
    for (std::size_t e = 0; e < experts; ++e) {
      const double count = counts[l * experts + e];
      sums[l].all[e] += count;
      sums[l].same += count * count;
    }
    for (std::uint64_t row = first; row + 1 < first + rows; ++row)
      sums[l].adjacent += shared(table, row, row + 1, layer);
    for (std::uint64_t row = first; row + kFar < first + rows; ++row)
      sums[l].eight += shared(table, row, row + kFar, layer);
  }
}

Overlaps finish(const Sums& sums, const Pairs& pairs, int top_k) {
  double all = 0;
  for (const double count : sums.all) all += count * count;
  Overlaps out;
  out.apart = (all - sums.same) / (pairs.tokens * pairs.tokens - pairs.squares) / top_k;
  // A token shares all of its experts with itself.
  out.same = (sums.same - pairs.tokens * top_k) / pairs.same / top_k;
  out.adjacent = sums.adjacent / pairs.adjacent / top_k;
  out.eight = sums.eight / pairs.eight / top_k;
  return out;
}

/// `value` times what brings `got` nearer to `want`, if overlap grows with its square.
void approach(double& value, double want, double got) {
  constexpr double kLeast = 1e-4, kStep = 1.6, kSmall = 0.02, kLarge = 6;
  const double ratio = std::max(want, kLeast) / std::max(got, kLeast);
  value = std::clamp(value * std::clamp(std::sqrt(ratio), 1 / kStep, kStep), kSmall, kLarge);
}

/// One round: each spread follows the difference of overlaps that it makes.
void improve(LatentSpread& spread, const Overlaps& want, const Overlaps& got, double uniform) {
  const LatentSpread shipped = LatentParameters().spread;
  approach(spread.layer, want.apart - uniform, got.apart - uniform);
  approach(spread.sequence, want.same - want.apart, got.same - got.apart);
  approach(spread.slow, want.adjacent - want.same, got.adjacent - got.same);
  spread.domain = spread.sequence * (shipped.domain / shipped.sequence);
  spread.token_class = spread.slow * (shipped.token_class / shipped.slow);
  // Of what neighbours share beyond any two tokens, so much is left eight tokens on.
  const auto left = [](const Overlaps& o) {
    return std::clamp((o.eight - o.same) / std::max(o.adjacent - o.same, 1e-3), 0.01, 0.95);
  };
  const double slower = std::pow(left(want) / left(got), 1.0 / kFar);
  spread.slow_rho = std::clamp(spread.slow_rho * slower, 0.3, 0.99);
}

}  // namespace

std::vector<Overlaps> overlaps_of(const RoutingTable& table, int sequences) {
  const RoutingShape& shape = table.shape();
  constexpr std::uint16_t kLoop = 2;  // RoutedSequence::flags
  std::vector<Sums> sums(static_cast<std::size_t>(shape.layers));
  for (Sums& layer : sums) layer.all.assign(static_cast<std::size_t>(shape.experts), 0.0);
  Pairs pairs;
  int used = 0;
  for (const RoutedSequence& sequence : table.sequences) {
    if ((sequence.flags & kLoop) != 0 || sequence.rows <= kFar || used == sequences) continue;
    ++used;
    const std::uint32_t rows = std::min(sequence.rows, kRows);
    const double n = rows;
    table.check_rows(sequence.first_row, rows);
    add(table, sequence.first_row, rows, sums);
    pairs.tokens += n;
    pairs.squares += n * n;
    pairs.same += n * (n - 1);
    pairs.adjacent += n - 1;
    pairs.eight += n - kFar;
  }
  std::vector<Overlaps> overlaps;
  if (used < 2) return overlaps;
  for (const Sums& layer : sums) overlaps.push_back(finish(layer, pairs, shape.top_k));
  return overlaps;
}

LatentParameters fit_latent(const RoutingTable& trace) {
  constexpr int kMost = 1000;  // sequences of the trace looked at: 200,000 tokens
  const std::vector<Overlaps> want = overlaps_of(trace, kMost);
  MOESIM_CHECK(!want.empty(), "the trace has sequences to fit to");
  const RoutingShape& shape = trace.shape();
  LatentParameters parameters;
  parameters.by_layer.assign(want.size(), parameters.spread);
  parameters.layer_rho = 0;  // while fitting: layers that err on their own
  // Sequences enough for the fit's error, as far as a round may take a fifth of a second.
  constexpr double kScores = 5e7;
  const double row = static_cast<double>(shape.layers) * shape.experts;
  const TableSize size{static_cast<int>(std::clamp<double>(kScores / row / kRows, 16, kSequences)),
                       0, static_cast<int>(kRows)};
  const double uniform = static_cast<double>(shape.top_k) / shape.experts;
  constexpr int kRounds = 12;
  for (int round = 0; round < kRounds; ++round) {
    LatentTokens tokens(shape, parameters, kSeed);
    for (int l = 0; l < shape.layers; ++l)
      tokens.add_layer(parameters.by_layer[static_cast<std::size_t>(l)],
                       normal_scores(shape.experts, kSeed, l));
    RoutingTable table = empty_table(shape, size);
    tokens.fill(table);
    const std::vector<Overlaps> got = overlaps_of(table, size.sequences);
    for (std::size_t l = 0; l < want.size(); ++l)
      improve(parameters.by_layer[l], want[l], got[l], uniform);
  }
  parameters.layer_rho = LatentParameters().layer_rho;
  return parameters;
}

}  // namespace moesim
