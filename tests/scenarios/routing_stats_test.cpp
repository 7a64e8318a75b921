#include "scenarios/routing_stats.h"

#include <cmath>
#include <doctest/doctest.h>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "scenarios/routing_trace.h"
#include "tests/scenarios/expert_routing/expert_routing_support.h"
#include "tests/scenarios/routing_support.h"

namespace moesim {
namespace {

using nlohmann::json;

TEST_CASE("loads of a layer are described as by hand") {
  // Mean 2, deviations 2 2 1 -1 -2... of {0, 4, 1, 3}: variance (4 + 4 + 1 + 1) / 4 = 2.5.
  const std::vector<double> loads = {0, 4, 1, 3};
  const LoadStats stats = load_stats(loads);
  CHECK(stats.cv == doctest::Approx(std::sqrt(2.5) / 2));
  CHECK(stats.max_over_mean == doctest::Approx(2));
  CHECK(stats.min_over_mean == doctest::Approx(0));
  // p = 0, 1/8, 3/8, 4/8: -(1/8 ln 1/8 + 3/8 ln 3/8 + 1/2 ln 1/2) / ln 4 = 0.9743 / 1.3863
  CHECK(stats.entropy_norm == doctest::Approx(0.70282).epsilon(1e-4));
  // (-3 * 0 - 1 * 1/8 + 1 * 3/8 + 3 * 1/2) / 4
  CHECK(stats.gini == doctest::Approx(1.75 / 4));
  CHECK(stats.top20_share == doctest::Approx(0.5));  // round(0.8) = 1 expert
  CHECK(stats.unused == 1);
  CHECK(stats.distinct == 3);
  const std::vector<double> even = {5, 5, 5}, none = {0, 0}, one = {7};
  CHECK(load_stats(even).cv == doctest::Approx(0));
  CHECK(load_stats(even).entropy_norm == doctest::Approx(1));
  CHECK(load_stats(none).cv == 0);
  CHECK(load_stats(none).unused == 2);
  CHECK(load_stats(one).max_over_mean == 1);
}

TEST_CASE("the Jensen-Shannon distance is 0 for equal shares and 1 for disjoint ones") {
  const std::vector<double> a = {1, 3, 0}, scaled = {2, 6, 0}, disjoint = {0, 0, 5}, b = {3, 1, 0};
  CHECK(js_distance(a, scaled) == doctest::Approx(0));
  CHECK(js_distance(a, disjoint) == doctest::Approx(1));
  // Entropy of the middle (1/2, 1/2) is 1 bit, of each (1/4, 3/4) 0.811278.
  CHECK(js_distance(a, b) == doctest::Approx(std::sqrt(1 - 0.811278)).epsilon(1e-5));
}

TEST_CASE("experts lie in blocks on ranks, the remainder on the first") {
  // 7 experts on 3 ranks: 3, 2, 2.
  const int expected[] = {0, 0, 0, 1, 1, 2, 2};
  for (int e = 0; e < 7; ++e) CHECK(linear_rank(e, 7, 3) == expected[e]);
  const std::vector<double> loads = {1, 2, 3, 4, 5, 6, 7};
  CHECK(rank_loads(loads, 3) == std::vector<double>{6, 9, 13});
}

TEST_CASE("overlaps, repeats and next-layer knowledge of a table small enough to count") {
  // Layer 0: {0,1} {1,0} {2,3}; layer 1: {4,0} {0,4} {4,2}. One sequence of three rows.
  RoutingTable table({.layers = 2, .experts = 5, .top_k = 2}, 3);
  const int ids[3][2][2] = {{{0, 1}, {4, 0}}, {{1, 0}, {0, 4}}, {{2, 3}, {4, 2}}};
  for (int row = 0; row < 3; ++row) {
    for (int layer = 0; layer < 2; ++layer) {
      for (int rank = 0; rank < 2; ++rank)
        table.set(static_cast<std::uint64_t>(row), layer, rank, ids[row][layer][rank]);
    }
  }
  table.sequences = {{0, 3, 0, 0, 0, 4, 0}};
  const RoutingStats stats = routing_stats(table);
  CHECK(stats.lags[0].pairs == 2);
  CHECK(stats.lags[0].overlap == std::vector<double>{0.5, 0.75});
  CHECK(stats.lags[0].any_repeat == std::vector<double>{0.5, 1});
  CHECK(stats.lags[0].first_repeat == std::vector<double>{0, 0});
  CHECK(stats.lags[1].first_repeat == std::vector<double>{0, 1});
  CHECK(stats.lags[2].pairs == 0);
  // Pairs of rows in either order: layer 0 shares 2 ids in 1 of 3 pairs, layer 1 2, 1 and 1.
  CHECK(stats.overlap_same_sequence == doctest::Approx((1.0 / 3 + 2.0 / 3) / 2));
  // First choices 0, 1, 2 tell 4, 0, 4 for certain.
  CHECK(stats.next_layer_information[0] == doctest::Approx(1));
  CHECK(stats.next_layer_guess[0] == doctest::Approx(1));
  // Layer 1 counts 2 0 1 0 3 of 6: 1 + CV^2 = 5 * (4 + 1 + 9) / 36.
  CHECK(stats.auxiliary_loss[1] == doctest::Approx(70.0 / 36));
  CHECK_FALSE(stats.loss_from_weights);
}

TEST_CASE("what layers tell of each other is what they tell beyond chance") {
  // Few tokens of many experts, layers independent: counted as they are they tell half.
  const RoutingTable table =
      kind_of("{kind: uniform}")->table({4, 256, 8, 0, 0}, {16, 0, 256}, 3, 0);
  const RoutingStats stats = routing_stats(table);
  for (std::size_t l = 0; l < 3; ++l) {
    CHECK(stats.next_layer_information[l] > 0.4);
    CHECK(std::abs(stats.next_layer_information[l] - stats.next_layer_chance[l]) < 0.003);
  }
  // Layers alike: chance has no part in what they tell, however few the tokens are.
  const RoutingTable same = kind_of("{kind: hash, vocabulary: 8, exponent: 0, per_layer: false}")
                                ->table({2, 64, 2, 0, 0}, {4, 0, 256}, 3, 0);
  const RoutingStats alike = routing_stats(same);
  CHECK(alike.next_layer_information[0] == doctest::Approx(1));
  CHECK(alike.next_layer_chance[0] < 0.05);
}

TEST_CASE("recorded weights make the auxiliary loss, renormalised over the choices") {
  RoutingTable table({.layers = 1, .experts = 2, .top_k = 2}, 2);
  for (std::uint64_t row = 0; row < 2; ++row) table.set(row, 0, 1, 1);
  table.sequences = {{0, 2, 0, 0, 0, 4, 0}};
  table.weights = {3, 1, 0.5, 0.5};
  // Assignments are even, so importance (0.75 + 0.5, 0.25 + 0.5) / 2 does not matter: 2 * 1/2 = 1.
  CHECK(routing_stats(table).auxiliary_loss[0] == doctest::Approx(1));
  CHECK(routing_stats(table).loss_from_weights);
  RoutingTable skewed({.layers = 1, .experts = 3, .top_k = 2}, 2);
  const int ids[] = {0, 1, 0, 2};
  for (int i = 0; i < 4; ++i) skewed.set(static_cast<std::uint64_t>(i / 2), 0, i % 2, ids[i]);
  skewed.sequences = {{0, 2, 0, 0, 0, 4, 0}};
  skewed.weights = {8, 2, 6, 4};
  // f = 1/2 1/4 1/4, P = (0.8 + 0.6) / 2, 0.1, 0.2: 3 (0.35 + 0.025 + 0.05)
  CHECK(routing_stats(skewed).auxiliary_loss[0] == doctest::Approx(1.275));
}

TEST_CASE("the matrix of nodes is that of their ranks") {
  // Four ranks of one expert, two nodes; sequence i lives on rank i mod 4. All choose experts 0, 1.
  RoutingTable table({.layers = 1, .experts = 4, .top_k = 2}, 3);
  for (std::uint64_t row = 0; row < 3; ++row) {
    for (int rank = 0; rank < 2; ++rank) table.set(row, 0, rank, rank);
    table.sequences.push_back({row, 1, 0, 0, 0, 4, 0});
  }
  const ReachStats ranks = reach_stats(table, linear_places(4, 4, 4));
  const ReachStats nodes = with_matrix_of(ranks, reach_stats(table, linear_places(4, 4, 2)));
  // Sequences 0 and 1 live on node 0, 2 on node 1; each token goes to two ranks of node 0.
  CHECK(nodes.dispatch == std::vector<std::vector<std::uint64_t>>{{4, 0}, {2, 0}});
  CHECK(nodes.max_row == doctest::Approx(4.0 / 3));
  CHECK(nodes.max_column == doctest::Approx(2));
  CHECK(nodes.mean == doctest::Approx(1));  // one node for each token
  CHECK(nodes.histogram[0] == doctest::Approx(1));
}

TEST_CASE("a token counts once for each rank it reaches") {
  // Four experts on two ranks; sequence 0 lives on rank 0, sequence 1 on rank 1.
  RoutingTable table({.layers = 1, .experts = 4, .top_k = 2}, 3);
  const int ids[] = {0, 1, 1, 2, 3, 2};
  for (int i = 0; i < 6; ++i) table.set(static_cast<std::uint64_t>(i / 2), 0, i % 2, ids[i]);
  table.sequences = {{0, 2, 0, 0, 0, 4, 0}, {2, 1, 0, 0, 0, 4, 0}};
  const ReachStats reach = reach_stats(table, linear_places(4, 2, 2));
  CHECK(reach.places == 2);
  CHECK(linear_places(8, 4, 2) == std::vector<int>{0, 0, 0, 0, 1, 1, 1, 1});
  CHECK(linear_places(5, 4, 2) == std::vector<int>{0, 0, 0, 1, 1});
  CHECK(reach.mean == doctest::Approx(4.0 / 3));
  CHECK(reach.histogram[0] == doctest::Approx(2.0 / 3));
  CHECK(reach.histogram[1] == doctest::Approx(1.0 / 3));
  CHECK(reach.dispatch == std::vector<std::vector<std::uint64_t>>{{2, 1}, {0, 1}});
  CHECK(reach.max_row == doctest::Approx(1.5));
  CHECK(reach.max_column == doctest::Approx(1));
}

// --- the real trace, against statistics computed by another program ---------------------------

/// Largest difference of two lists, or infinity if their lengths differ.
double difference(const std::vector<double>& a, const json& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    most = std::max(most, std::abs(a[i] - b[i].get<double>()));
  return most;
}
constexpr double kRounding = 5.1e-5;  ///< the file has four decimals

// Acceptance check 2 of routing-traces.md 6.
TEST_CASE("statistics of the real trace are those published with it, to four decimals") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  std::ifstream file(routing_data("gpt_oss_20b_stats.json"));
  const json expected = json::parse(file);
  const RoutingStats stats = routing_stats(read_routed_tokens(path));
  CHECK(stats.rows == expected["rows"]);
  CHECK(stats.sequences == expected["sequences"]);
  CHECK(stats.loops_left_out == 13);
  struct Field {
    const char* name;
    double LoadStats::*value;
  };
  const Field fields[] = {{"cv", &LoadStats::cv},
                          {"max_over_mean", &LoadStats::max_over_mean},
                          {"min_over_mean", &LoadStats::min_over_mean},
                          {"entropy_norm", &LoadStats::entropy_norm},
                          {"gini", &LoadStats::gini},
                          {"top20pct_share", &LoadStats::top20_share},
                          {"unused", &LoadStats::unused}};
  for (const Field& field : fields) {
    CAPTURE(field.name);
    std::vector<double> layers;
    for (const LoadStats& load : stats.load) layers.push_back(load.*field.value);
    CHECK(difference(layers, expected["load_per_layer"][field.name]) < kRounding);
    CHECK(std::abs(mean_of(layers) - expected["load_mean_over_layers"][field.name].get<double>()) <
          kRounding);
  }
  CHECK(difference(stats.sequence_cv, expected["sequence_cv_mean_per_layer"]) < kRounding);
  const json& lag1 = expected["lag1_per_layer"];
  CHECK(difference(stats.lags[0].overlap, lag1["overlap"]) < kRounding);
  CHECK(difference(stats.lags[0].first_repeat, lag1["first_choice_repeat"]) < kRounding);
  CHECK(difference(stats.lags[0].any_repeat, lag1["any_repeat"]) < kRounding);
  CHECK(stats.lags.size() == 8);
  for (const LagStats& lag : stats.lags) {
    CAPTURE(lag.lag);
    const json& means = expected["lag_mean_over_layers"][std::to_string(lag.lag)];
    CHECK(lag.pairs == means["pairs"]);
    CHECK(std::abs(mean_of(lag.overlap) - means["overlap"].get<double>()) < kRounding);
    CHECK(std::abs(mean_of(lag.first_repeat) - means["first_choice_repeat"].get<double>()) <
          kRounding);
    CHECK(std::abs(mean_of(lag.any_repeat) - means["any_repeat"].get<double>()) < kRounding);
  }
  const auto value = [&](const char* name) { return expected[name].get<double>(); };
  CHECK(std::abs(stats.overlap_same_sequence - value("overlap_two_random_tokens_same_sequence")) <
        kRounding);
  CHECK(std::abs(stats.overlap_whole_trace - value("overlap_two_random_tokens_whole_trace")) <
        kRounding);
  CHECK(stats.overlap_uniform == value("overlap_uniform_random"));
  const json& next = expected["next_layer_first_choice"];
  CHECK(difference(stats.next_layer_information, next["mutual_information_over_entropy"]) <
        kRounding);
  CHECK(std::abs(mean_of(stats.next_layer_guess) - next["best_guess_accuracy_mean"].get<double>()) <
        kRounding);
}

TEST_CASE("domains of the real trace differ as published with it") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  std::ifstream file(routing_data("gpt_oss_20b_stats.json"));
  const json expected = json::parse(file);
  const RoutingStats stats = routing_stats(read_routed_tokens(path));
  CHECK(stats.groups.size() == 11);
  int found = 0, pairs = 0;
  for (std::size_t a = 0; a < stats.groups.size(); ++a) {
    const RoutingStats::Group& group = stats.groups[a];
    CAPTURE(group.name);
    if (!expected["domain_groups"].contains(group.name)) continue;  // small groups are left out
    ++found;
    CHECK(group.rows == expected["domain_groups"][group.name]["rows"]);
    CHECK(std::abs(group.cv - expected["domain_groups"][group.name]["cv_mean"].get<double>()) <
          kRounding);
    for (std::size_t b = a + 1; b < stats.groups.size(); ++b) {
      const json& distances = expected["domain_js_distance_mean_over_layers"];
      const auto at = distances.find(group.name + "|" + stats.groups[b].name);
      if (at == distances.end()) continue;
      ++pairs;
      CHECK(std::abs(stats.group_distance[a][b] - at->get<double>()) < kRounding);
    }
  }
  CHECK(found == 9);
  CHECK(pairs == 36);
}

}  // namespace
}  // namespace moesim
