// A trace for a model of another shape.
#include "scenarios/adapt_trace.h"

#include <cmath>
#include <doctest/doctest.h>
#include <string>

#include "scenarios/latent_fit.h"
#include "scenarios/routing_trace.h"
#include "tests/scenarios/expert_routing/expert_routing_support.h"
#include "tests/scenarios/scenarios_support.h"

using namespace moesim;

namespace {

std::string replayed(const TempFolder& folder, const RoutingTable& table, const std::string& more) {
  return "{kind: trace, path: " + folder.write("t.mrt", write_mrt(table)).string() + more + "}";
}

/// Layers of two tables: relative difference of every overlap, mean over layers; the worst kind.
double worst_difference(const RoutingTable& a, const RoutingTable& b) {
  const std::vector<Overlaps> of_a = overlaps_of(a, 1000), of_b = overlaps_of(b, 1000);
  REQUIRE(of_a.size() == of_b.size());
  double worst = 0;
  for (const auto kind :
       {&Overlaps::apart, &Overlaps::same, &Overlaps::adjacent, &Overlaps::eight}) {
    double sum_a = 0, sum_b = 0;
    for (std::size_t l = 0; l < of_a.size(); ++l) {
      sum_a += of_a[l].*kind;
      sum_b += of_b[l].*kind;
    }
    worst = std::max(worst, std::abs(sum_b / sum_a - 1));
  }
  return worst;
}

}  // namespace

TEST_CASE("adapt: layers gives each layer the one as deep in the trace") {
  const TempFolder folder;
  const RoutingTable small = small_table();  // 2 layers of 5 experts, top-2
  const auto routing = kind_of(replayed(folder, small, ", adapt: layers"));
  const RoutingShape deep{5, 5, 2, 0, 0};
  CHECK_NOTHROW(routing->check(deep));
  const RoutingTable table = routing->table(deep, {1, 0, 1}, 1, 0);
  REQUIRE(table.shape() == deep);
  REQUIRE(table.rows() == small.rows());
  CHECK(table.sequences.size() == 2);
  CHECK(table.domains.size() == 2);
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    for (int layer = 0; layer < 5; ++layer) {
      for (int rank = 0; rank < 2; ++rank)  // floor(layer * 2 / 5): 0 0 0 1 1
        CHECK(table.expert(row, layer, rank) == small.expert(row, layer < 3 ? 0 : 1, rank));
    }
  }
  CHECK(routing->remark(deep) == "routing: the 2 layers of the trace serve 5, in proportion");
  CHECK(routing->remark(small.shape()).empty());
  CHECK(same_rows(routing->table(small.shape(), {1, 0, 1}, 1, 0), small));
}

TEST_CASE("without adapt another shape is refused, and layers alone never change experts") {
  const TempFolder folder;
  const RoutingTable small = small_table();
  CHECK(mistake_of(replayed(folder, small, ""), {3, 5, 2, 0, 0}) ==
        "path: its tokens choose 2 of 5 experts in 2 layers, the model's 2 of 5 in 3; give a trace "
        "of this model, or write adapt: layers");
  for (const char* adapt : {"", ", adapt: layers"}) {
    CHECK(mistake_of(replayed(folder, small, adapt), {2, 6, 2, 0, 0})
              .find("write adapt: experts for a generator") != std::string::npos);
    CHECK_FALSE(mistake_of(replayed(folder, small, adapt), {2, 5, 1, 0, 0}).empty());
  }
  CHECK(mistake_of(replayed(folder, small, ", adapt: experts"), {2, 6, 2, 0, 0})
            .starts_with("path: is too short to fit"));
  for (const char* adapt : {", adapt: layers", ", adapt: experts"}) {
    CHECK(mistake_of(replayed(folder, small, adapt), small.shape()) ==
          "adapt: has no effect: the trace has the model's shape; leave it out");
  }
  CHECK(mistake_of(replayed(folder, small, ", adapt: ids"), small.shape()).find("'ids'") !=
        std::string::npos);
}

TEST_CASE("a generator is fitted to what it made itself") {
  const TempFolder folder;
  // Nothing like the shipped parameters, and unlike by layer.
  const std::string file =
      folder
          .write("p.yaml",
                 "layers:\n"
                 "  - {sigma_layer: 0.5, sigma_domain: 0.5, sigma_seq: 0.4, sigma_class: 0.5, "
                 "sigma_slow: 0.4, rho_slow: 0.95}\n"
                 "  - {sigma_layer: 2, sigma_domain: 0.2, sigma_seq: 1.8, sigma_class: 1, "
                 "sigma_slow: 1.5, rho_slow: 0.7}\n")
          .string();
  const RoutingTable made = kind_of("{kind: latent_logit, parameters: " + file + "}")
                                ->table({2, 64, 4, 0, 0}, {200, 0, 200}, 5, 0);
  const LatentParameters fit = fit_latent(made);
  REQUIRE(fit.by_layer.size() == 2);
  CHECK(fit.by_layer[1].layer > 2 * fit.by_layer[0].layer);
  CHECK(fit.by_layer[1].slow > 2 * fit.by_layer[0].slow);
  CHECK(fit.by_layer[0].slow_rho > fit.by_layer[1].slow_rho);
  const auto routing = kind_of(replayed(folder, made, ", adapt: experts"));
  // Three layers: the first two of them like layer 0.
  const RoutingShape wider{4, 128, 8, 0, 0};
  CHECK_NOTHROW(routing->check(wider));
  const RoutingTable table = routing->table(wider, {100, 5, 200}, 1, 0);
  REQUIRE(table.shape() == wider);
  CHECK(table.domains.size() == made.domains.size());
  CHECK(routing->remark(wider).find("top-4 of 64 experts in 2 layers, not top-8 of 128 in 4") !=
        std::string::npos);
  const std::vector<Overlaps> of = overlaps_of(table, 100);
  CHECK(of[0].adjacent == doctest::Approx(of[1].adjacent).epsilon(0.15));
  CHECK(of[2].adjacent > 2 * of[1].adjacent);
}

TEST_CASE("a generator fitted to gpt-oss-20b overlaps as its tokens do") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  const RoutingTable trace = read_routed_tokens(path);
  const TempFolder folder;
  // The model of the trace with one expert more: the fit is used, and hardly anything else changes.
  const auto routing = kind_of("{kind: trace, adapt: experts, path: " + path.string() + "}");
  const RoutingTable like = routing->table({24, 33, 4, 0, 0}, {200, 0, 200}, 1, 0);
  CHECK(worst_difference(trace, like) < 0.06);
  CHECK(like.domains.size() == trace.domains.size());
  CHECK(same_rows(routing->table({24, 32, 4, 0, 0}, {1, 0, 1}, 1, 0), trace));
}
