#include <cmath>
#include <doctest/doctest.h>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "scenarios/routing_trace.h"
#include "tests/scenarios/expert_routing/expert_routing_support.h"
#include "tests/scenarios/scenarios_support.h"

using namespace moesim;

namespace {

struct Measured {
  double adjacent = 0, eight_apart = 0, same_sequence = 0, whole_trace = 0;
  double pooled_cv = 0, sequence_cv = 0, first_repeats = 0, any_repeats = 0;
};

/// Expected overlap of two different rows of `rows`, given how often each expert was chosen.
double expected_overlap(const std::vector<double>& counts, double rows, int top_k) {
  double pairs = 0;
  for (const double count : counts) pairs += count * (count - 1);
  return pairs / (rows * (rows - 1)) / top_k;
}

void add_sequence(Measured& sum, const RoutingTable& table, const RoutedSequence& sequence,
                  int layer) {
  const double share = 1.0 / static_cast<double>(table.sequences.size());
  std::vector<double> counts(static_cast<std::size_t>(table.shape().experts), 0.0);
  for (std::uint64_t i = 0; i < sequence.rows; ++i) {
    const std::uint64_t row = sequence.first_row + i;
    for (int rank = 0; rank < table.shape().top_k; ++rank)
      ++counts[static_cast<std::size_t>(table.expert(row, layer, rank))];
    if (i + 1 < sequence.rows) {
      const double pair = share / (sequence.rows - 1);
      const double shared = overlap(table, row, row + 1, layer);
      sum.adjacent += pair * shared;
      sum.any_repeats += shared > 0 ? pair : 0;
      sum.first_repeats +=
          table.expert(row, layer, 0) == table.expert(row + 1, layer, 0) ? pair : 0;
    }
    if (i + 8 < sequence.rows)
      sum.eight_apart += overlap(table, row, row + 8, layer) * share / (sequence.rows - 8);
  }
  sum.same_sequence += share * expected_overlap(counts, sequence.rows, table.shape().top_k);
  sum.sequence_cv += share * cv(counts);
}

void add(Measured& sum, const Measured& other, double weight) {
  for (double Measured::*const value :
       {&Measured::adjacent, &Measured::eight_apart, &Measured::same_sequence,
        &Measured::whole_trace, &Measured::pooled_cv, &Measured::sequence_cv,
        &Measured::first_repeats, &Measured::any_repeats})
    sum.*value += weight * other.*value;
}

/// Mean over layers of the statistics the generator was fitted by.
Measured measure(const RoutingTable& table) {
  Measured sum;
  for (int layer = 0; layer < table.shape().layers; ++layer) {
    Measured one;
    for (const RoutedSequence& sequence : table.sequences)
      add_sequence(one, table, sequence, layer);
    const std::vector<double> counts = counts_of(table, layer);
    one.whole_trace =
        expected_overlap(counts, static_cast<double>(table.rows()), table.shape().top_k);
    one.pooled_cv = cv(counts);
    add(sum, one, 1.0 / table.shape().layers);
  }
  return sum;
}

}  // namespace

TEST_CASE("latent_logit reproduces what its parameters were fitted to, within 5 %") {
  // Acceptance check 6 of routing-traces.md 6. generator_calibration.json: parameters and "got" of
  // fits mean, layer0 and layer12, 100 sequences of 200 tokens, 32 experts, top-4, ten seeds.
  // Layers are tied as shipped: each alone must not notice.
  struct Case {
    const char* why;
    const char* parameters;
    Measured expected;
  };
  const Case cases[] = {
      {"mean",
       "{sigma_layer: 1.256, sigma_domain: 1.129, sigma_seq: 1.253, sigma_class: 1.377, "
       "class_stay: 0.264, sigma_slow: 1.239, rho_slow: 0.84}",
       {0.442, 0.346, 0.332, 0.188, 0.703, 1.274, 0.246, 0.932}},
      {"layer 0",
       "{sigma_layer: 0.47, sigma_domain: 0.525, sigma_seq: 0.134, sigma_class: 0.531, "
       "class_stay: 0.427, sigma_slow: 0.273, rho_slow: 0.982}",
       {0.204, 0.189, 0.189, 0.149, 0.441, 0.708, 0.058, 0.631}},
      {"layer 12",
       "{sigma_layer: 1.91, sigma_domain: 1.748, sigma_seq: 1.866, sigma_class: 1.398, "
       "class_stay: 0.425, sigma_slow: 1.5, rho_slow: 0.949}",
       {0.587, 0.501, 0.451, 0.213, 0.834, 1.603, 0.410, 0.987}}};
  const TempFolder folder;
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const std::string file = folder.write("fit.yaml", c.parameters).string();
    const auto routing = kind_of("{kind: latent_logit, parameters: " + file + "}");
    Measured got;
    for (std::uint64_t seed = 1; seed <= 10; ++seed)
      add(got, measure(routing->table({4, 32, 4, 0, 0}, {100, 0, 200}, seed, 0)), 0.1);
    CHECK(got.adjacent == doctest::Approx(c.expected.adjacent).epsilon(0.05));
    CHECK(got.eight_apart == doctest::Approx(c.expected.eight_apart).epsilon(0.05));
    CHECK(got.same_sequence == doctest::Approx(c.expected.same_sequence).epsilon(0.05));
    CHECK(got.whole_trace == doctest::Approx(c.expected.whole_trace).epsilon(0.05));
    CHECK(got.pooled_cv == doctest::Approx(c.expected.pooled_cv).epsilon(0.05));
    CHECK(got.sequence_cv == doctest::Approx(c.expected.sequence_cv).epsilon(0.05));
    CHECK(got.first_repeats == doctest::Approx(c.expected.first_repeats).epsilon(0.05));
    CHECK(got.any_repeats == doctest::Approx(c.expected.any_repeats).epsilon(0.05));
  }
}

TEST_CASE("latent_logit as shipped: gpt-oss-20b's own numbers, layers of unlike strength") {
  // gpt_oss_20b_stats.json: adjacent overlap 0.19 at layer 0, 0.28 to 0.61 elsewhere, mean 0.443;
  // pooled CV of loads 0.762, of a sequence's 1.217.
  const RoutingTable table =
      kind_of("{kind: latent_logit}")->table({24, 32, 4, 0, 0}, {100, 0, 200}, 1, 0);
  const Measured all = measure(table);
  CHECK(all.adjacent == doctest::Approx(0.443).epsilon(0.10));
  CHECK(all.pooled_cv == doctest::Approx(0.762).epsilon(0.15));
  CHECK(all.sequence_cv == doctest::Approx(1.217).epsilon(0.05));
  double first_layer = 0;
  for (const RoutedSequence& sequence : table.sequences) {
    for (std::uint32_t i = 0; i + 1 < sequence.rows; ++i)
      first_layer += overlap(table, sequence.first_row + i, sequence.first_row + i + 1, 0);
  }
  CHECK(first_layer / (100 * 199) == doctest::Approx(0.19).epsilon(0.10));
}

TEST_CASE("latent_logit as shipped: what a layer says of later ones, as in gpt-oss-20b") {
  // Of the trace's own sequences of 200 rows and more: 0.353 one layer on, 0.231 eight, 0.204
  // twenty. With layers of their own (layer_rho 0) class and domain alone give 0.015.
  const RoutingTable table =
      kind_of("{kind: latent_logit}")->table({24, 32, 4, 0, 0}, {150, 0, 200}, 1, 0);
  CHECK(layer_information(table, 1) == doctest::Approx(0.353).epsilon(0.10));
  CHECK(layer_information(table, 8) == doctest::Approx(0.231).epsilon(0.20));
  CHECK(layer_information(table, 20) == doctest::Approx(0.204).epsilon(0.20));
  const TempFolder folder;
  const std::string file =
      folder
          .write("untied.yaml",
                 "{sigma_layer: 1.256, sigma_domain: 1.129, sigma_seq: 1.253, sigma_class: 1.377, "
                 "sigma_slow: 1.239, rho_slow: 0.84, layer_rho: 0}")
          .string();
  const RoutingTable untied = kind_of("{kind: latent_logit, parameters: " + file + "}")
                                  ->table({6, 32, 4, 0, 0}, {150, 0, 200}, 1, 0);
  CHECK(layer_information(untied, 1) < 0.03);
}

TEST_CASE("the real trace ties layers, and its first choices are enough to see it") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  const RoutingTable table = read_routed_tokens(path);
  CHECK(layer_information(table, 1) == doctest::Approx(0.353).epsilon(0.02));
  CHECK(layer_information(table, 8) == doctest::Approx(0.231).epsilon(0.05));
  CHECK(layer_information(table, 20) == doctest::Approx(0.204).epsilon(0.05));
}

TEST_CASE("latent_logit: layers are tied by experts of other numbers") {
  // All terms go on unchanged and none differs by layer: one permutation leads from any layer's
  // experts to any other's, and it is not the identity, nor the same for all pairs.
  const TempFolder folder;
  const std::string file =
      folder
          .write("one.yaml",
                 "{sigma_layer: 0, sigma_domain: 1, sigma_seq: 1, sigma_class: 1, sigma_slow: 1, "
                 "rho_slow: 0.5, layer_rho: 1}")
          .string();
  const auto routing = kind_of("{kind: latent_logit, parameters: " + file + "}");
  for (const RoutingShape& shape : {RoutingShape{3, 16, 2, 0, 0}, RoutingShape{3, 16, 2, 4, 2}}) {
    const RoutingTable table = routing->table(shape, {20, 0, 100}, 1, 0);
    std::vector<std::vector<int>> partner(2, std::vector<int>(16, -1));
    int same = 0;
    for (std::uint64_t row = 0; row < table.rows(); ++row) {
      for (int rank = 0; rank < 2; ++rank) {
        const int expert = table.expert(row, 0, rank);
        for (int layer = 1; layer < 3; ++layer) {
          int& known =
              partner[static_cast<std::size_t>(layer) - 1][static_cast<std::size_t>(expert)];
          if (known < 0) known = table.expert(row, layer, rank);
          REQUIRE(known == table.expert(row, layer, rank));
          same += known == expert ? 1 : 0;
        }
      }
    }
    CHECK(partner[0] != partner[1]);
    CHECK(same < 2000);  // of 8000: a sixteenth by chance
  }
}

TEST_CASE("latent_logit: the token's class is one for all layers") {
  // Nothing but classes, far stronger than the noise: whoever has the same choice at layer 0 has
  // the same at layer 1.
  const TempFolder folder;
  const std::string file =
      folder
          .write("classes.yaml",
                 "{sigma_layer: 0, sigma_domain: 0, sigma_seq: 0, sigma_class: 20, sigma_slow: 0, "
                 "rho_slow: 0, classes: 6, layer_rho: 0}")
          .string();
  const RoutingTable table = kind_of("{kind: latent_logit, parameters: " + file + "}")
                                 ->table({2, 256, 1, 0, 0}, {4, 0, 500}, 1, 0);
  std::set<std::pair<int, int>> pairs;
  int common = 0;
  std::vector<int> partner(256, -1);
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    int& known = partner[static_cast<std::size_t>(table.expert(row, 0, 0))];
    if (known < 0) known = table.expert(row, 1, 0);
    common += known == table.expert(row, 1, 0) ? 1 : 0;
  }
  CHECK(common > 1000);  // about a sixth of 2000 if layers had classes of their own
}

TEST_CASE("latent_logit: template_start sends the first output tokens of all one way") {
  const auto routing = kind_of("{kind: latent_logit, template_start: 3}");
  const RoutingTable table = routing->table({2, 32, 4, 0, 0}, {8, 5, 10}, 1, 0);
  for (std::uint64_t s = 1; s < 8; ++s) {
    const std::uint64_t first = s * 15;
    for (std::uint64_t i = 0; i < 3; ++i) CHECK(overlap(table, 5 + i, first + 5 + i, 1) == 1);
    CHECK(overlap(table, 0, first, 1) + overlap(table, 8, first + 8, 1) < 2);
  }
}

TEST_CASE("latent_logit: domains come equally often, and are as unlike as in the real trace") {
  // In gpt-oss-20b a batch of one group of domains has 1.0 to 1.5 times the CV of a mixed one; a
  // domain is narrower than a group.
  const RoutingShape shape{4, 32, 4, 0, 0};
  const auto batch_cv = [&](const std::string& mix) {
    const auto routing = kind_of("{kind: latent_logit" + mix + "}");
    const RoutingTable table = routing->table(shape, {120, 0, 50}, 1, 0);
    std::vector<int> sequences(table.domains.size(), 0);
    for (const RoutedSequence& sequence : table.sequences) ++sequences[sequence.domain];
    CHECK(*std::ranges::max_element(sequences) == *std::ranges::min_element(sequences));
    double sum = 0;
    for (int layer = 0; layer < shape.layers; ++layer) sum += cv(counts_of(table, layer));
    return sum / shape.layers;
  };
  const double mixed = batch_cv("");
  const double one = batch_cv(", domain_mix: {law: 1}");
  CHECK(one > 1.05 * mixed);
  CHECK(one < 1.7 * mixed);
  const auto routing = kind_of("{kind: latent_logit, domain_mix: {math: 1, code: 3}}");
  const RoutingTable table = routing->table(shape, {4, 0, 5}, 1, 0);
  REQUIRE(table.domains.size() == 2);
  CHECK(table.domains[0].name == "code");
  CHECK(table.domains[1].name == "math");
  CHECK(routing->replay(1).domain_mix.front().shares.at("code") == 3);
}

TEST_CASE("latent_logit: popularity drifts, sequences stay what they are") {
  const auto routing = kind_of("{kind: latent_logit, drift: {kind: step, half_life_s: 60}}");
  const RoutingShape shape{6, 64, 4, 0, 0};
  const auto counts = [&](std::uint64_t epoch) {
    return counts_of(routing->table(shape, {60, 0, 50}, 1, epoch), 3);
  };
  CHECK(correlation(counts(0), counts(0)) == doctest::Approx(1));
  CHECK(correlation(counts(0), counts(1)) < 0.8);
  CHECK(routing->epoch_s() == 60);
}

TEST_CASE("latent_logit: mistakes in its file are reported at their line") {
  const TempFolder folder;
  const RoutingShape shape{2, 32, 4, 0, 0};
  const auto mistake = [&](const std::string& content) {
    const std::string file = folder.write("bad.yaml", content).string();
    return mistake_of("{kind: latent_logit, parameters: " + file + "}", shape);
  };
  const std::string good =
      "sigma_layer: 1\nsigma_domain: 1\nsigma_seq: 1\nsigma_class: 1\nsigma_slow: 1\nrho_slow: 0.5";
  CHECK(mistake(good).empty());
  CHECK(mistake("sigma_layer: 1").starts_with("sigma_domain: required key is missing"));
  CHECK(mistake(good + "\nrho: 1").starts_with("rho: unknown key"));
  CHECK(mistake(good + "\nlayer_rho: 2").starts_with("layer_rho: 2 is outside"));
  CHECK(mistake(good.substr(0, good.size() - 3) + "1.5").starts_with("rho_slow: 1.5 is outside"));
  const std::string one =
      "{sigma_layer: 1, sigma_domain: 1, sigma_seq: 1, sigma_class: 1, sigma_slow: 1, rho_slow: 0}";
  CHECK(mistake("layers: [" + one + ", " + one + "]").empty());
  CHECK(mistake("layers: [" + one + "]") ==
        "layers: 1 layers for a model of 2 MoE layers; write one for each, or parameters of all "
        "layers");
  CHECK_FALSE(mistake_of("{kind: latent_logit, parameters: /no/such.yaml}", shape).empty());
}
