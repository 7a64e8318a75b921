#include "scenarios/json_place.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

namespace moesim {
namespace {

using Path = std::vector<JsonStep>;

TEST_CASE("a value of a line of JSON is found where it begins") {
  struct Case {
    const char* why;
    std::string text;
    Path path;
    std::size_t place;
  };
  const std::string two = R"( {"a": [[1, 22],[3]], "b":"x"})";
  const Case cases[] = {
      {"the whole", two, {}, 1},
      {"a list", two, {"a"}, 7},
      {"an item", two, {"a", std::size_t{1}}, 16},
      {"an item of an item", two, {"a", std::size_t{0}, std::size_t{1}}, 12},
      {"text", two, {"b"}, 26},
      {"a key that is not there: the object", two, {"c"}, 1},
      {"an item that is not there: its list", two, {"a", std::size_t{1}, std::size_t{5}}, 16},
      {"a key of a list: the list", two, {"a", "b"}, 7},
      {"brackets and quotes inside text", R"({"a":"]}\",","b":1})", {"b"}, 17},
      {"an object passed over", R"({"a":{"b":[2]},"b":1})", {"b"}, 19},
      {"the last of two keys, as it is read", R"({"a":1,"a":2})", {"a"}, 11},
      {"nothing inside", "{}", {"a"}, 0},
      {"nothing at all", "", {"a"}, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    CHECK(json_place(c.text, c.path) == c.place);
  }
}

TEST_CASE("what is no JSON object is told where it stops being one") {
  struct Case {
    const char* why;
    std::string text;
    std::size_t place;
    std::string problem;
  };
  const Case cases[] = {
      {"another value", " [1]", 1, "' [1]' is not a JSON object"},
      {"cut", R"({"a":1)", 6, R"('{"a":1' is not a JSON object)"},
      {"a number beyond any double", R"({"a":[1,1e999]})", 8, "'1e999' is beyond the largest"},
      {"below any", R"({"a": -2.5E+400})", 6, "'-2.5E+400' is beyond the largest"},
      {"not the one in a text", R"({"\"1e999":"1e999","b":1e888})", 23, "'1e888' is beyond"},
      {"digits alone", "{\"a\":" + std::string(400, '9') + "}", 5, "is beyond the largest"},
      {"the fault before it", R"({"a":x,"b":1e999})", 5, "is not a JSON object"},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    const JsonFault fault = json_fault(c.text);
    CHECK(fault.place == c.place);
    CHECK_MESSAGE(fault.problem.find(c.problem) != std::string::npos, fault.problem);
    CHECK_FALSE(fault.hint.empty());
  }
}

}  // namespace
}  // namespace moesim
