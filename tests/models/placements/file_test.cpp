#include <doctest/doctest.h>

#include "sim/base/diagnostic.h"
#include "tests/models/placements/placements_support.h"

namespace moesim {
namespace {

const PlacementInput kInput{.layers = 2, .experts = 3, .ranks = 2};

ExpertPlacement placed(const std::string& text, const PlacementInput& input = kInput) {
  return make_placement({.name = "file", .file = write_temporary(text)})->place(input);
}

TEST_CASE("a file of slots is taken as it stands") {
  const PlacementInput input{.layers = 2, .experts = 3, .ranks = 2, .redundant = 1};
  const std::vector<std::uint16_t> expect = {0, 1, 2, 0, 2, 1, 0, 2};
  CHECK(placed("[[0,1,2,0],\n [2,1,0,2]]", input).logical == expect);
  CHECK(placed("{ \"physical_to_logical_map\" : [[0,1,2,0],[2,1,0,2]] }\n", input).logical ==
        expect);
  PlacementInput unsaid = input;
  unsaid.redundant = 0;  // the file says how many there are
  CHECK(placed("[[0,1,2,0],[2,1,0,2]]", unsaid).slots == 4);
}

TEST_CASE("mistakes in a file are told at their place, all of them") {
  struct Case {
    const char* why;
    const char* text;
    std::vector<const char*> expect;
  };
  const Case cases[] = {
      {"no list",
       "0",
       {":1:1: placement.file: expected '[', found '0'; write [[0, 1, ...], ...]: one list of "
        "logical experts a layer"}},
      {"empty file",
       "",
       {":1:1: placement.file: expected '[', found the end of the file; write [[0, 1, ...], ...]: "
        "one list of logical experts a layer"}},
      {"cut short",
       "[[0,1,2],\n[0,",
       {":2:4: placement.file: expected a whole number, found the end of the file; write [[0, 1, "
        "...], ...]: one list of logical experts a layer"}},
      {"a fraction",
       "[[0,1.5,2],[0,1,2]]",
       {":1:6: placement.file: expert ids are whole numbers; write [[0, 1, ...], ...]: one list of "
        "logical experts a layer"}},
      {"another key",
       "{\"map\": []}",
       {":1:7: placement.file: unknown key 'map'; the key is physical_to_logical_map"}},
      {"twice",
       "[[0,1,2],[0,1,2]] []",
       {":1:19: placement.file: more text after the end of the map; remove it"}},
      {"layers",
       "[[0,1,2]]",
       {":1:1: placement.file: 1 layers, the model has 2 with routed experts; write one list for "
        "each of them"}},
      {"too few slots",
       "[[0,1],[0,1]]",
       {":1:2: placement.file[0]: 2 slots, but there are 3 experts; write 3 ids a layer",
        ":1:2: placement.file[0]: 1 experts have no slot, the first is 2 (in 2 layers); every "
        "expert needs one"}},
      {"uneven ranks",
       "[[0,1,2,0,1],[0,1,2,0,1]]",
       {":1:2: placement.file[0]: 5 slots do not divide over 2 ranks; every rank has equally "
        "many"}},
      {"ragged",
       "[[0,1,2],\n[0,1,2,2]]",
       {":2:1: placement.file[1]: 4 slots, the first layer has 3; layers have equally many"}},
      {"ids, in two layers",
       "[[0,1,3],\n[-1,1,99999999999999999999]]",
       {":1:7: placement.file[0][2]: no such expert (3 times, in 2 layers); ids are 0 to 2",
        ":1:2: placement.file[0]: 1 experts have no slot, the first is 2; every expert needs one",
        ":2:1: placement.file[1]: 2 experts have no slot, the first is 0; every expert needs one"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    try {
      static_cast<void>(placed(c.text));
      FAIL("accepted");
    } catch (const InputError& error) {
      REQUIRE(error.diagnostics().size() == c.expect.size());
      for (std::size_t i = 0; i < c.expect.size(); ++i) {
        const Diagnostic& d = error.diagnostics()[i];
        const std::string told = ":" + std::to_string(d.where.line) + ":" +
                                 std::to_string(d.where.column) + ": " + d.key + ": " + d.problem +
                                 "; " + d.hint;
        CHECK(told == c.expect[i]);
        CHECK(d.where.file.ends_with("_map.json"));
      }
    }
  }
}

TEST_CASE("no cut of a file is taken for another map") {
  const std::string text = "{\"physical_to_logical_map\": [[0,1,2],[2,1,0]]}";
  for (std::size_t length = 0; length < text.size(); ++length) {
    CAPTURE(length);
    CHECK_THROWS_AS(placed(text.substr(0, length)), InputError);
  }
  CHECK(placed(text).logical == std::vector<std::uint16_t>{0, 1, 2, 2, 1, 0});
}

TEST_CASE("redundant slots that were asked for must be there, and a missing file is told") {
  const PlacementInput input{.layers = 1, .experts = 2, .ranks = 1, .redundant = 2};
  try {
    static_cast<void>(placed("[[0,1,1]]", input));
    FAIL("accepted");
  } catch (const InputError& error) {
    CHECK(error.diagnostics().front().problem ==
          "3 slots, but there are 2 experts and 2 redundant");
  }
  const auto made = [](const std::string& file) {
    static_cast<void>(make_placement({.name = "file", .file = file}));
  };
  CHECK_THROWS_AS(made("/no/such/map.json"), InputError);
  CHECK_THROWS_AS(made(""), InputError);
}

}  // namespace
}  // namespace moesim
