// What every registered placement must hold, and that the table in models/README.md lists them.
#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "models/placement.h"
#include "sim/base/diagnostic.h"
#include "sim/base/random.h"
#include "sim/base/registry.h"
#include "tests/models/placements/placements_support.h"

namespace moesim {
namespace {

struct Case {
  const char* why;
  PlacementInput input;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"one rank", {.layers = 2, .experts = 8}},
      {"even", {.layers = 3, .experts = 16, .ranks = 4, .nodes = 2, .groups = 4}},
      {"E does not divide", {.layers = 1, .experts = 10, .ranks = 4, .nodes = 2}},
      {"redundant",
       {.layers = 2, .experts = 12, .ranks = 8, .nodes = 2, .groups = 4, .redundant = 4}},
      {"more copies than experts", {.layers = 1, .experts = 4, .ranks = 4, .redundant = 8}},
      {"more ranks than experts", {.layers = 1, .experts = 4, .ranks = 8, .redundant = 4}},
  };
  return all;
}

/// Placement of a name for a case; `file` gets a map of its own.
std::unique_ptr<Placement> made(const std::string& name, const PlacementInput& input) {
  PlacementSpec spec;
  spec.name = name;
  if (name == "file") spec.file = write_map(linear_rows(input));
  return make_placement(spec);
}

void check_valid(const ExpertPlacement& placement, const PlacementInput& input) {
  CHECK(placement.layers == input.layers);
  CHECK(placement.experts == input.experts);
  CHECK(placement.ranks == input.ranks);
  CHECK(placement.slots == input.experts + input.redundant);
  REQUIRE(placement.first_slot.size() == static_cast<std::size_t>(input.ranks) + 1);
  REQUIRE(placement.logical.size() == static_cast<std::size_t>(placement.layers * placement.slots));
  int least = placement.slots, most = 0;
  for (int rank = 0; rank < input.ranks; ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    const int own = placement.first_slot[r + 1] - placement.first_slot[r];
    least = std::min(least, own);
    most = std::max(most, own);
    for (int s = placement.first_slot[r]; s < placement.first_slot[r + 1]; ++s) {
      CHECK(placement.rank_of(s) == rank);
    }
  }
  CHECK(most - least <= (placement.slots % input.ranks == 0 ? 0 : 1));
  for (int layer = 0; layer < input.layers; ++layer) {
    const auto slots = placement.layer(layer);
    CHECK(std::set<int>(slots.begin(), slots.end()).size() ==
          static_cast<std::size_t>(input.experts));
  }
}

TEST_CASE("every placement gives every expert a slot and every rank as many") {
  for (const std::string& name : Registry<Placement>::names()) {
    for (const Case& c : cases()) {
      CAPTURE(name);
      CAPTURE(c.why);
      const auto placement = made(name, c.input);
      check_valid(placement->place(c.input), c.input);
      PlacementInput loaded = c.input;
      std::vector<double> loads(static_cast<std::size_t>(loaded.layers * loaded.experts));
      Rng random(3, "placements");
      for (double& load : loads) load = random.exponential();
      loaded.loads = loads;
      const ExpertPlacement first = placement->place(loaded);
      check_valid(first, loaded);
      CHECK(placement->place(loaded) == first);
      std::ranges::fill(loads, 0.0);
      check_valid(placement->place(loaded), loaded);
    }
  }
}

TEST_CASE("an unknown placement is answered with the nearest") {
  try {
    static_cast<void>(make_placement({.name = "round_robbin"}));
    FAIL("accepted");
  } catch (const InputError& error) {
    CHECK(error.diagnostics().front().problem == "unknown placement 'round_robbin'");
    CHECK(error.diagnostics().front().hint == "did you mean 'round_robin'?");
  }
}

TEST_CASE("the table of placements is what is registered, each with source and test") {
  std::ifstream file(std::string(MOESIM_ROOT) + "/models/README.md");
  REQUIRE(file.good());
  std::vector<std::string> names;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) inside = line == "## Placements";
    if (!inside || !line.starts_with("| `")) continue;
    names.push_back(line.substr(3, line.find('`', 3) - 3));
  }
  std::ranges::sort(names);
  CHECK(names == Registry<Placement>::names());
  for (const std::string& name : names) {
    CAPTURE(name);
    namespace fs = std::filesystem;
    CHECK(fs::exists(std::string(MOESIM_ROOT) + "/models/placements/" + name + ".cpp"));
    CHECK(fs::exists(std::string(MOESIM_TEST_DIR) + "/models/placements/" + name + "_test.cpp"));
    CHECK_FALSE(Registry<Placement>::find(name)->description.empty());
  }
}

}  // namespace
}  // namespace moesim
