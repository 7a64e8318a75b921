#include <doctest/doctest.h>
#include <string>

#include "scenarios/load_table.h"
#include "tests/scenarios/expert_routing/expert_routing_support.h"
#include "tests/scenarios/scenarios_support.h"

using namespace moesim;

TEST_CASE("loads: what the file says is what the experts get") {
  const TempFolder folder;
  const std::string file =
      folder.write("loads.csv", "layer,expert,count\n0,0,50\n0,1,30\n0,2,15\n0,3,5\n").string();
  const auto routing = kind_of("{kind: loads, path: " + file + "}");
  const RoutingTable table = routing->table({1, 4, 2, 0, 0}, {50, 0, 1000}, 3, 0);
  const std::vector<double> counts = counts_of(table, 0);
  // 0: half of all slots is every token once, the rest in proportion.
  CHECK(counts[0] / 100'000 == doctest::Approx(0.50).epsilon(0.01));
  CHECK(counts[1] / 100'000 == doctest::Approx(0.30).epsilon(0.02));
  CHECK(counts[2] / 100'000 == doctest::Approx(0.15).epsilon(0.03));
  CHECK(counts[3] / 100'000 == doctest::Approx(0.05).epsilon(0.05));
}

TEST_CASE("loads: drift starts from the file and moves the same loads to others") {
  const TempFolder folder;
  std::string rows = "layer,expert,count\n";
  for (int e = 0; e < 64; ++e)
    rows += "0," + std::to_string(e) + "," + std::to_string(e < 32 ? 3 : 1) + "\n";
  const std::string file = folder.write("loads.csv", rows).string();
  const auto routing =
      kind_of("{kind: loads, path: " + file + ", drift: {kind: step, half_life_s: 60}}");
  const RoutingShape shape{1, 64, 4, 0, 0};
  std::vector<double> wanted;
  for (int e = 0; e < 64; ++e) wanted.push_back(e < 32 ? 3 : 1);
  const auto counts = [&](std::uint64_t epoch) {
    return counts_of(routing->table(shape, {20, 0, 500}, 3, epoch), 0);
  };
  CHECK(correlation(counts(0), wanted) > 0.99);
  CHECK(std::abs(correlation(counts(1), wanted)) < 0.5);
  CHECK(cv(counts(1)) == doctest::Approx(cv(counts(0))).epsilon(0.05));
}

TEST_CASE("loads: recorded steps of gpt-oss-20b come back with their loads") {
  const auto path = routing_data("gpt_oss_20b_sample.steps.mrt");
  if (is_missing(path)) return;
  const RoutingShape shape{24, 32, 4, 0, 0};
  const auto wanted = read_load_table(path, shape);
  const auto routing = kind_of("{kind: loads, path: " + path.string() + "}");
  routing->check(shape);
  const RoutingTable table = routing->table(shape, {20, 0, 500}, 3, 0);
  for (int layer = 0; layer < 24; ++layer)
    CHECK(correlation(counts_of(table, layer), wanted[static_cast<std::size_t>(layer)]) > 0.995);
}

TEST_CASE("loads: a file of another model is refused, and so is none") {
  const TempFolder folder;
  const std::string file = folder.write("loads.csv", "layer,expert,count\n5,0,1\n").string();
  CHECK(mistake_of("{kind: loads, path: " + file + "}", {1, 4, 2, 0, 0})
            .starts_with("layer: '5' is not one of the model's 1"));
  CHECK_FALSE(mistake_of("{kind: loads, path: /no/such.csv}", {1, 4, 2, 0, 0}).empty());
  CHECK(mistake_of("{kind: loads}", {1, 4, 2, 0, 0}).starts_with("path: required key is missing"));
}
