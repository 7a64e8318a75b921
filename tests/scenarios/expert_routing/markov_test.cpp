#include <doctest/doctest.h>

#include "tests/scenarios/expert_routing/expert_routing_support.h"

using namespace moesim;

namespace {

struct Repeats {
  double first = 0;  ///< the next token's first choice is this one's
  double any = 0;    ///< some choice repeats
};

Repeats repeats_of(const RoutingTable& table) {
  Repeats repeats;
  double pairs = 0;
  for (const RoutedSequence& sequence : table.sequences) {
    for (std::uint64_t row = sequence.first_row + 1; row < sequence.first_row + sequence.rows;
         ++row, ++pairs) {
      repeats.first += table.expert(row, 0, 0) == table.expert(row - 1, 0, 0) ? 1 : 0;
      repeats.any += overlap(table, row - 1, row, 0) > 0 ? 1 : 0;
    }
  }
  return {repeats.first / pairs, repeats.any / pairs};
}

}  // namespace

// Acceptance check 7 of routing-traces.md 6.
TEST_CASE("markov: Mixtral's published repeats of consecutive tokens") {
  // arXiv:2401.04088, table 5: layer 15 repeats the first choice in 24 to 28 %, first or second in
  // 62 to 67 %; layer 0 in 14 to 15 % and 45 to 50 %. By hand: first = p + (1 - p) / 8, and no
  // repeat at all (1 - p)^2 of 15/28 (keeps of other slots are rare): p = 0.175 and 0.02.
  struct Case {
    const char* persistence;
    double first, any_least, any_most;
  };
  for (const Case& c : {Case{"0.175", 0.28, 0.62, 0.67}, Case{"0.02", 0.142, 0.46, 0.50}}) {
    CAPTURE(c.persistence);
    const auto routing = kind_of("{kind: markov, persistence: " + std::string(c.persistence) + "}");
    const RoutingTable table = routing->table({1, 8, 2, 0, 0}, {200, 0, 500}, 3, 0);
    const Repeats repeats = repeats_of(table);
    CHECK(repeats.first == doctest::Approx(c.first).epsilon(0.03));
    CHECK(repeats.any > c.any_least);
    CHECK(repeats.any < c.any_most);
    CHECK(max_over_mean(counts_of(table, 0)) < 1.05);
  }
}

TEST_CASE("markov: overlap falls with distance like a power of the persistence") {
  const double p = 0.7;
  const auto routing = kind_of("{kind: markov, persistence: 0.7}");
  const RoutingTable table = routing->table({1, 256, 4, 0, 0}, {100, 0, 400}, 3, 0);
  const double base = 4.0 / 256;
  for (const std::uint64_t lag : {1U, 2U, 4U, 8U}) {
    double sum = 0, pairs = 0;
    for (const RoutedSequence& sequence : table.sequences) {
      for (std::uint64_t i = 0; i + lag < sequence.rows; ++i, ++pairs)
        sum += overlap(table, sequence.first_row + i, sequence.first_row + i + lag, 0);
    }
    const double expected = base + (1 - base) * std::pow(p, static_cast<double>(lag));
    CHECK(sum / pairs == doctest::Approx(expected).epsilon(0.03));
  }
}

TEST_CASE("markov: the ends are the base and a frozen token") {
  const RoutingShape shape{2, 32, 4, 0, 0};
  const std::string base = "{kind: zipf, exponent: 1}";
  const RoutingTable none =
      kind_of("{kind: markov, persistence: 0, base: " + base + "}")->table(shape, {3, 0, 20}, 3, 0);
  CHECK(same_rows(none, kind_of(base)->table(shape, {3, 0, 20}, 3, 0)));
  const RoutingTable all =
      kind_of("{kind: markov, persistence: 1}")->table(shape, {2, 0, 20}, 3, 0);
  for (std::uint64_t row = 1; row < 20; ++row) CHECK(overlap(all, 0, row, 1) == 1);
  CHECK(overlap(all, 0, 20, 1) < 1);  // the next sequence starts anew
}

TEST_CASE("markov: groups change neither what is kept nor who is loaded") {
  const double p = 0.3;
  for (const std::string base : {"{kind: uniform}", "{kind: zipf, exponent: 0.7}"}) {
    CAPTURE(base);
    const auto overlap_of = [&](double persistence, int groups) {
      const auto routing = kind_of("{kind: markov, persistence: " + std::to_string(persistence) +
                                   ", base: " + base + "}");
      const RoutingTable table =
          routing->table({1, 256, 8, groups, groups / 2}, {100, 0, 200}, 3, 0);
      double sum = 0, pairs = 0;
      for (const RoutedSequence& sequence : table.sequences) {
        for (std::uint64_t i = 0; i + 1 < sequence.rows; ++i, ++pairs)
          sum += overlap(table, sequence.first_row + i, sequence.first_row + i + 1, 0);
      }
      return std::pair(sum / pairs, counts_of(table, 0));
    };
    const auto [grouped, grouped_counts] = overlap_of(p, 8);
    const auto [free, free_counts] = overlap_of(p, 0);
    CHECK(grouped == doctest::Approx(free).epsilon(0.02));
    const auto base_counts = overlap_of(0, 8).second;
    if (base != "{kind: uniform}") {
      CHECK(correlation(grouped_counts, base_counts) > 0.99);
      CHECK(cv(grouped_counts) == doctest::Approx(cv(base_counts)).epsilon(0.06));
    } else {
      CHECK(cv(grouped_counts) < 0.08);  // of counts of 625: 0.04 by chance, and tokens repeat
    }
  }
}
