#include "scenarios/routing_stats.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "scenarios/routing_counts.h"
#include "sim/base/random.h"

namespace moesim {
namespace {

constexpr std::uint16_t kLoop = 2;  ///< RoutedSequence::flags
constexpr std::uint32_t kLongestLag = 128;
constexpr std::uint32_t kLongSequence = 200;  ///< as in the statistics the real trace came with
constexpr int kMostExpertsForPairs = 1024;

bool is_used(const RoutedSequence& sequence, bool with_loops) {
  return with_loops || (sequence.flags & kLoop) == 0;
}

/// Goes over the sequences of a table once; every part of the statistics keeps its own sums.
class Describer {
 public:
  Describer(const RoutingTable& table, bool with_loops)
      : table_(table),
        with_loops_(with_loops),
        layers_(static_cast<std::size_t>(table.shape().layers)),
        experts_(static_cast<std::size_t>(table.shape().experts)),
        top_k_(static_cast<std::size_t>(table.shape().top_k)),
        total_(layers_ * experts_, 0),
        same_sequence_(0) {}

  RoutingStats run() {
    for (std::uint32_t lag = 1; lag <= kLongestLag; lag *= 2)
      result_.lags.push_back({lag, 0, std::vector<double>(layers_), std::vector<double>(layers_),
                              std::vector<double>(layers_)});
    result_.sequence_cv.assign(layers_, 0);
    for (const RoutedSequence& sequence : table_.sequences) {
      if (is_used(sequence, with_loops_)) {
        add_sequence(sequence);
      } else {
        ++result_.loops_left_out;
      }
    }
    finish_loads();
    finish_lags();
    finish_groups();
    add_losses();
    add_next_layers();
    return std::move(result_);
  }

 private:
  [[nodiscard]] std::vector<double> layer_of(const std::vector<std::uint64_t>& counts,
                                             std::size_t layer) const {
    const auto at = counts.begin() + static_cast<std::ptrdiff_t>(layer * experts_);
    return {at, at + static_cast<std::ptrdiff_t>(experts_)};
  }
  void add_sequence(const RoutedSequence& sequence);
  void add_pairs(const RoutedSequence& sequence, LagStats& lag);
  void finish_loads();
  void finish_lags();
  void finish_groups();
  void add_losses();
  void add_next_layers();
  void add_next_layer(int layer);

  const RoutingTable& table_;
  bool with_loops_;
  std::size_t layers_, experts_, top_k_;
  std::vector<std::uint64_t> total_;  ///< [layer][expert]
  double same_sequence_;              ///< overlap, times rows, summed over layers
  std::map<std::string, std::pair<std::uint64_t, std::vector<std::uint64_t>>> groups_;
  RoutingStats result_;
};

void Describer::add_sequence(const RoutedSequence& sequence) {
  table_.check_rows(sequence.first_row, sequence.rows);
  std::vector<std::uint32_t> counts(total_.size(), 0);
  count_run(table_, sequence.first_row, sequence.rows, counts);
  const double rows = sequence.rows;
  double overlap = 0;
  for (std::size_t layer = 0; layer < layers_; ++layer) {
    std::vector<double> load(experts_);
    for (std::size_t e = 0; e < experts_; ++e) {
      const double count = counts[layer * experts_ + e];
      load[e] = count;
      // Two different rows of the sequence both choose e.
      if (rows > 1) overlap += count * (count - 1) / (rows * (rows - 1));
    }
    if (sequence.rows >= kLongSequence) result_.sequence_cv[layer] += load_stats(load).cv;
  }
  same_sequence_ += overlap / static_cast<double>(top_k_) * rows;
  const auto add_to = [&](std::vector<std::uint64_t>& sum) {
    for (std::size_t i = 0; i < counts.size(); ++i) sum[i] += counts[i];
  };
  add_to(total_);
  if (sequence.domain < table_.domains.size()) {
    auto& [group_rows, sum] = groups_[table_.domains[sequence.domain].group];
    if (sum.empty()) sum.assign(total_.size(), 0);
    group_rows += sequence.rows;
    add_to(sum);
  }
  result_.rows += sequence.rows;
  ++result_.sequences;
  if (sequence.rows >= kLongSequence) ++result_.long_sequences;
  for (LagStats& lag : result_.lags) add_pairs(sequence, lag);
}

template <class Cell>
int shared_ids(const Cell* a, const Cell* b, std::size_t top_k) {
  int shared = 0;
  for (std::size_t i = 0; i < top_k; ++i) {
    for (std::size_t j = 0; j < top_k; ++j) shared += a[i] == b[j] ? 1 : 0;
  }
  return shared;
}

void Describer::add_pairs(const RoutedSequence& sequence, LagStats& lag) {
  if (sequence.rows <= lag.lag) return;
  const auto add = [&](const auto* a, const auto* b) {
    for (std::size_t layer = 0; layer < layers_; ++layer, a += top_k_, b += top_k_) {
      const int shared = shared_ids(a, b, top_k_);
      lag.overlap[layer] += shared;
      lag.first_repeat[layer] += *a == *b ? 1 : 0;
      lag.any_repeat[layer] += shared > 0 ? 1 : 0;
    }
  };
  const std::uint64_t end = sequence.first_row + sequence.rows;
  for (std::uint64_t row = sequence.first_row; row + lag.lag < end; ++row) {
    if (table_.cell_bytes() == 1) {
      add(table_.row8(row), table_.row8(row + lag.lag));
    } else {
      add(table_.row16(row), table_.row16(row + lag.lag));
    }
  }
  lag.pairs += sequence.rows - lag.lag;
}

void Describer::finish_loads() {
  const auto rows = static_cast<double>(result_.rows);
  const double weight = 1 / static_cast<double>(layers_ * top_k_);
  double squares = 0;
  for (std::size_t layer = 0; layer < layers_; ++layer) {
    const std::vector<double>& load = result_.counts.emplace_back(layer_of(total_, layer));
    result_.load.push_back(load_stats(load));
    if (result_.rows == 0) continue;
    for (const double count : load) squares += count / rows * (count / rows);
    result_.sequence_cv[layer] /= std::max(1.0, static_cast<double>(result_.long_sequences));
  }
  result_.overlap_whole_trace = squares * weight;
  result_.overlap_uniform = static_cast<double>(top_k_) / static_cast<double>(experts_);
  if (result_.rows > 0)
    result_.overlap_same_sequence = same_sequence_ / static_cast<double>(layers_) / rows;
}

void Describer::finish_lags() {
  for (LagStats& lag : result_.lags) {
    const double pairs = std::max(1.0, static_cast<double>(lag.pairs));
    for (std::size_t layer = 0; layer < layers_; ++layer) {
      lag.overlap[layer] /= pairs * static_cast<double>(top_k_);
      lag.first_repeat[layer] /= pairs;
      lag.any_repeat[layer] /= pairs;
    }
  }
}

void Describer::finish_groups() {
  std::vector<std::vector<std::vector<double>>> loads;  // [group][layer]
  for (const auto& [name, entry] : groups_) {
    auto& by_layer = loads.emplace_back();
    double cv = 0;
    for (std::size_t layer = 0; layer < layers_; ++layer) {
      by_layer.push_back(layer_of(entry.second, layer));
      cv += load_stats(by_layer.back()).cv;
    }
    result_.groups.push_back({name, entry.first, cv / static_cast<double>(layers_)});
  }
  for (const auto& a : loads) {
    std::vector<double>& row = result_.group_distance.emplace_back();
    for (const auto& b : loads) {
      double sum = 0;
      for (std::size_t layer = 0; layer < layers_; ++layer) sum += js_distance(a[layer], b[layer]);
      row.push_back(sum / static_cast<double>(layers_));
    }
  }
}

/// Importance of each expert: its router probability, renormalised over the K, summed over tokens.
std::vector<double> importance(const RoutingTable& table, bool with_loops, std::size_t cells) {
  std::vector<double> sum(cells, 0);
  const RoutingShape& shape = table.shape();
  for (const RoutedSequence& sequence : table.sequences) {
    if (!is_used(sequence, with_loops)) continue;
    for (std::uint64_t row = sequence.first_row; row < sequence.first_row + sequence.rows; ++row) {
      const float* weight = &table.weights[row * table.row_cells()];
      for (int layer = 0; layer < shape.layers; ++layer, weight += shape.top_k) {
        const double all = std::accumulate(weight, weight + shape.top_k, 0.0);
        if (!(all > 0)) continue;
        double* const of_layer =
            &sum[static_cast<std::size_t>(layer) * static_cast<std::size_t>(shape.experts)];
        for (int rank = 0; rank < shape.top_k; ++rank)
          of_layer[table.expert(row, layer, rank)] += static_cast<double>(weight[rank]) / all;
      }
    }
  }
  return sum;
}

void Describer::add_losses() {
  result_.loss_from_weights = !table_.weights.empty();
  std::vector<double> router(total_.begin(), total_.end());
  if (result_.loss_from_weights) router = importance(table_, with_loops_, total_.size());
  for (std::size_t layer = 0; layer < layers_; ++layer) {
    double products = 0, assignments = 0, probability = 0;
    for (std::size_t i = layer * experts_; i < (layer + 1) * experts_; ++i) {
      const auto count = static_cast<double>(total_[i]);
      products += count * router[i];
      assignments += count;
      probability += router[i];
    }
    const double scale = assignments * probability;
    result_.auxiliary_loss.push_back(scale > 0 ? static_cast<double>(experts_) * products / scale
                                               : 0);
  }
}

void Describer::add_next_layers() {
  if (table_.shape().experts > kMostExpertsForPairs || result_.rows == 0) return;
  for (int layer = 0; layer + 1 < table_.shape().layers; ++layer) add_next_layer(layer);
}

/// How often first choices at one layer, `a`, come with those at the next, `b`; [a][b].
std::vector<std::uint32_t> pairs_of(const std::vector<std::uint16_t>& a,
                                    const std::vector<std::uint16_t>& b, std::size_t experts) {
  std::vector<std::uint32_t> joint(experts * experts, 0);
  for (std::size_t i = 0; i < a.size(); ++i) ++joint[a[i] * experts + b[i]];
  return joint;
}

struct Information {
  double share = 0;  ///< mutual information over the entropy of the second
  double guess = 0;  ///< how often the likeliest follower is right
};
Information information_of(const std::vector<std::uint32_t>& joint, std::size_t experts) {
  std::vector<double> here(experts, 0), next(experts, 0);
  double guessed = 0, rows = 0;
  for (std::size_t a = 0; a < experts; ++a) {
    std::uint32_t best = 0;
    for (std::size_t b = 0; b < experts; ++b) {
      const std::uint32_t count = joint[a * experts + b];
      here[a] += count;
      next[b] += count;
      best = std::max(best, count);
    }
    guessed += best;
    rows += here[a];
  }
  double information = 0, entropy = 0;
  for (std::size_t b = 0; b < experts; ++b) {
    if (next[b] > 0) entropy -= next[b] / rows * std::log(next[b] / rows);
    for (std::size_t a = 0; a < experts; ++a) {
      const double count = joint[a * experts + b];
      if (count > 0) information += count / rows * std::log(count * rows / (here[a] * next[b]));
    }
  }
  return {entropy > 0 ? information / entropy : 0, guessed / rows};
}

void Describer::add_next_layer(int layer) {
  std::vector<std::uint16_t> here, next;
  for (const RoutedSequence& sequence : table_.sequences) {
    if (!is_used(sequence, with_loops_)) continue;
    for (std::uint64_t row = sequence.first_row; row < sequence.first_row + sequence.rows; ++row) {
      here.push_back(static_cast<std::uint16_t>(table_.expert(row, layer, 0)));
      next.push_back(static_cast<std::uint16_t>(table_.expert(row, layer + 1, 0)));
    }
  }
  const Information told = information_of(pairs_of(here, next, experts_), experts_);
  result_.next_layer_information.push_back(told.share);
  result_.next_layer_guess.push_back(told.guess);
  Rng rng(1, "chance_pairs", static_cast<std::uint64_t>(layer));
  for (std::size_t i = 1; i < next.size(); ++i)
    std::swap(next[i], next[rng.below(static_cast<std::uint32_t>(i) + 1)]);
  const Information chance = information_of(pairs_of(here, next, experts_), experts_);
  result_.next_layer_chance.push_back(chance.share);
}

/// Finds the fullest row and column of the matrix; returns the sum of it all.
double judge_matrix(ReachStats& reach) {
  std::vector<double> rows(reach.dispatch.size(), 0), columns(reach.dispatch.size(), 0);
  for (std::size_t a = 0; a < rows.size(); ++a) {
    for (std::size_t b = 0; b < rows.size(); ++b) {
      rows[a] += static_cast<double>(reach.dispatch[a][b]);
      columns[b] += static_cast<double>(reach.dispatch[a][b]);
    }
  }
  reach.max_row = max_over_mean(rows);
  reach.max_column = max_over_mean(columns);
  return std::accumulate(rows.begin(), rows.end(), 0.0);
}

/// Mean, shares and the fullest row and column of what was counted.
void finish_reach(ReachStats& reach, double tokens) {
  if (tokens == 0) return;
  reach.mean = judge_matrix(reach) / tokens;
  for (double& share : reach.histogram) share /= tokens;
}

}  // namespace

RoutingStats routing_stats(const RoutingTable& table, bool with_loops) {
  return Describer(table, with_loops).run();
}

std::vector<int> linear_places(int experts, int ranks, int nodes) {
  std::vector<int> places;
  places.reserve(static_cast<std::size_t>(experts));
  for (int e = 0; e < experts; ++e)
    places.push_back(linear_rank(e, experts, ranks) / (ranks / nodes));
  return places;
}

ReachStats reach_stats(const RoutingTable& table, const std::vector<int>& place_of,
                       bool with_loops) {
  const RoutingShape& shape = table.shape();
  const auto n = static_cast<std::size_t>(*std::max_element(place_of.begin(), place_of.end())) + 1;
  ReachStats result;
  result.places = static_cast<int>(n);
  result.histogram.assign(std::min(n, static_cast<std::size_t>(shape.top_k)), 0);
  result.dispatch.assign(n, std::vector<std::uint64_t>(n, 0));
  std::vector<std::uint64_t> last_token(n, 0);  // that reached a place, counted from 1
  std::uint64_t token = 0;
  for (std::size_t s = 0; s < table.sequences.size(); ++s) {
    const RoutedSequence& sequence = table.sequences[s];
    if (!is_used(sequence, with_loops)) continue;
    table.check_rows(sequence.first_row, sequence.rows);
    std::vector<std::uint64_t>& sent = result.dispatch[s % n];
    for (std::uint64_t row = sequence.first_row; row < sequence.first_row + sequence.rows; ++row) {
      for (int layer = 0; layer < shape.layers; ++layer) {
        ++token;
        std::size_t reached = 0;
        for (int i = 0; i < shape.top_k; ++i) {
          const auto expert = static_cast<std::size_t>(table.expert(row, layer, i));
          const auto place = static_cast<std::size_t>(place_of[expert]);
          if (std::exchange(last_token[place], token) == token) continue;
          ++reached;
          ++sent[place];
        }
        ++result.histogram[reached - 1];
      }
    }
  }
  finish_reach(result, static_cast<double>(token));
  return result;
}

ReachStats with_matrix_of(const ReachStats& ranks, ReachStats nodes) {
  const auto n = static_cast<std::size_t>(nodes.places);
  const std::size_t ranks_of_node = static_cast<std::size_t>(ranks.places) / n;
  nodes.dispatch.assign(n, std::vector<std::uint64_t>(n, 0));
  for (std::size_t a = 0; a < ranks.dispatch.size(); ++a) {
    for (std::size_t b = 0; b < ranks.dispatch[a].size(); ++b)
      nodes.dispatch[a / ranks_of_node][b / ranks_of_node] += ranks.dispatch[a][b];
  }
  static_cast<void>(judge_matrix(nodes));
  return nodes;
}

double mean_of(const std::vector<double>& values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace moesim
