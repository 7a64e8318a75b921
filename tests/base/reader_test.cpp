#include "sim/base/reader.h"

#include <doctest/doctest.h>
#include <string>
#include <utility>
#include <vector>

#include "tests/base/reader_cases.h"

using namespace moesim;

TEST_CASE("a getter that fails returns something harmless") {
  const Document document = Document::parse("n: x\nr: x\nb: maybe\nt: 1\nl: [1, x]\nc: z\n", "f");
  Diagnostics diagnostics;
  Reader in(document, diagnostics);
  CHECK(in.integer("n", {.min = 1, .max = 8}) == 1);
  CHECK(in.integer("none", {.min = -8, .max = -2}) == -2);
  CHECK(in.integer_or("n", 5, {.min = 1, .max = 8}) == 5);
  CHECK_FALSE(in.optional_integer("n", {}).has_value());
  CHECK(in.number("r", {.min = -1, .max = 1}) == 0);
  CHECK(in.number("none", {.min = 0.5, .max = 1}) == 0.5);
  CHECK(in.number_or("r", 0.25, {}) == 0.25);
  CHECK_FALSE(in.optional_number("r", {}).has_value());
  CHECK(in.boolean_or("b", true));
  CHECK(in.text("t").empty());
  CHECK(in.text_or("t", "x") == "x");
  CHECK(in.text("none").empty());
  CHECK(in.choice_or("c", {"a", "b"}, "b") == "b");
  CHECK(in.numbers_or("l", {7}, {}) == std::vector<double>{7});
  CHECK(in.bytes("none", {.min = 1e9, .max = 1e12}).value() == 1'000'000'000);
  CHECK(in.bytes_per_s("none", {.min = 1e11, .max = 1e14}).value() == 1e11);
  CHECK(in.flops_per_s("none", {.min = 1e12, .max = 1e17}).value() == 1e12);
  CHECK(diagnostics.size() == 17);
}

TEST_CASE("numbers are read as YAML 1.2 and JSON write them") {
  struct Case {
    const char* text;
    double expect;
  };
  const Case cases[] = {
      {"0", 0},
      {"-0", 0},
      {"8", 8},
      {"+8", 8},
      {"007", 7},
      {"3.35e12", 3.35e12},
      {"3.35E+12", 3.35e12},
      {"989e12", 9.89e14},
      {".5", 0.5},
      {"5.", 5},
      {"-1.25e-3", -1.25e-3},
      {"0.1", 0.1},
      {"1e308", 1e308},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    with_reader("x: " + std::string(c.text), [&](Reader& in) {
      CHECK(in.is_number("x"));
      CHECK(in.number("x", {.min = -1e300, .max = 1e308}) == c.expect);
    });
  }
  for (const char* text : {"", ".", "+", "e5", "1e", "1e+", "1.2.3", "0x10", "0o17", "1_000",
                           "1,000", "12a", "--1", "inf", "nan", "Infinity", "1e5.0"}) {
    CAPTURE(text);
    with_reader("x: " + std::string(text), [&](Reader& in) { CHECK_FALSE(in.is_number("x")); });
  }
}

TEST_CASE("whole numbers may be written with an exponent, and keep all their digits") {
  struct Case {
    const char* text;
    std::int64_t expect;
  };
  const Case cases[] = {
      {"1e3", 1000},
      {"80e9", 80'000'000'000},
      {"2.0", 2},
      {"-5", -5},
      {"+5", 5},
      {"9007199254740993", 9'007'199'254'740'993},  // 2^53 + 1 is no double
      {"9223372036854774784", 9'223'372'036'854'774'784},
      {"007", 7},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    with_reader("x: " + std::string(c.text), [&](Reader& in) {
      CHECK(in.integer("x", {.min = -1e300, .max = 1e300}) == c.expect);
    });
  }
}

TEST_CASE("values arrive as written") {
  const std::string text =
      "name: \"H100 SXM\"\n"
      "version: \"0.19\"\n"
      "policy: sjf\n"
      "strict: True\n"
      "gpus: 8\n"
      "mem_bw: 3.35e12\n"
      "peak: 989e12\n"
      "mem_capacity: 80e9\n"
      "scales: [1, 2.5]\n"
      "tags: [a, \"b c\", 3, true]\n"
      "note: |\n"
      "  two\n"
      "  lines\n"
      "empty:\n"
      "nodes:\n"
      "  - {profile: x, count: 1}\n"
      "  - {profile: y, count: 2}\n";
  with_reader(text, [](Reader& in) {
    CHECK(in.text("name") == "H100 SXM");
    CHECK(in.text("version") == "0.19");
    CHECK(in.choice_or("policy", {"fcfs", "sjf"}, "fcfs") == "sjf");
    CHECK(in.boolean_or("strict", false));
    CHECK(in.optional_integer("gpus", {}) == 8);
    CHECK(in.bytes_per_s("mem_bw", {.min = 1e11, .max = 1e14}) == BytesPerSecond(3.35e12));
    CHECK(in.flops_per_s("peak", {.min = 1e12, .max = 1e17}) == FlopsPerSecond(989e12));
    CHECK(in.bytes("mem_capacity", {.min = 1e9, .max = 1e12}) == Bytes(80'000'000'000));
    CHECK(in.numbers_or("scales", {}, {}) == std::vector<double>{1, 2.5});
    CHECK(in.texts_or_empty("tags") == std::vector<std::string>{"a", "b c", "3", "true"});
    CHECK(in.text("note") == "two\nlines\n");
    CHECK(in.text_or("empty", "default") == "default");
    CHECK(in.raw("nodes") == "[{profile: x, count: 1}, {profile: y, count: 2}]");
    CHECK(in.raw("none").empty());
    std::vector<Reader> nodes = in.maps("nodes");
    REQUIRE(nodes.size() == 2);
    CHECK(nodes[1].text("profile") == "y");
    CHECK(nodes[1].integer("count", {}) == 2);
    CHECK(nodes[1].path("count") == "nodes.1.count");
    in.reject_unknown_keys();
  });
}

TEST_CASE("defaults are taken without a word") {
  with_reader("other: 1\n", [](Reader& in) {
    CHECK(in.text_or("a", "x") == "x");
    CHECK(in.choice_or("a", {"p"}, "p") == "p");
    CHECK(in.integer_or("a", 3, {}) == 3);
    CHECK(in.number_or("a", 2.5, {}) == 2.5);
    CHECK(in.boolean_or("a", true));
    CHECK_FALSE(in.optional_number("a", {}).has_value());
    CHECK_FALSE(in.optional_integer("a", {}).has_value());
    CHECK(in.numbers_or("a", {1, 2}, {}) == std::vector<double>{1, 2});
    CHECK(in.texts_or_empty("a").empty());
    CHECK(in.maps_or_empty("a").empty());
    CHECK(in.map_or_empty("a").keys().empty());
  });
}

TEST_CASE("the kind of a value can be asked before reading it") {
  with_reader("m: {}\nl: []\nt: x\nq: \"1\"\nn: 1\nb: true\nz: ~\n", [](Reader& in) {
    const auto kinds = [&](const char* key) {
      return std::string(in.has(key) ? "h" : "") + (in.is_map(key) ? "m" : "") +
             (in.is_list(key) ? "l" : "") + (in.is_text(key) ? "t" : "") +
             (in.is_number(key) ? "n" : "");
    };
    CHECK(kinds("m") == "hm");
    CHECK(kinds("l") == "hl");
    CHECK(kinds("t") == "ht");
    CHECK(kinds("q") == "ht");
    CHECK(kinds("n") == "hn");
    CHECK(kinds("b") == "h");
    CHECK(kinds("z").empty());
    CHECK(kinds("none").empty());
    CHECK(in.keys() == std::vector<std::string>{"m", "l", "t", "q", "n", "b", "z"});
  });
}

TEST_CASE("a key with a mistake at it or below it is faulty, its siblings are not") {
  const Document document = Document::parse("a: 0\nab: 1\nmap: {x: many, y: 2}\nnone: .inf\n", "f");
  Diagnostics diagnostics;
  Reader in(document, diagnostics);
  in.integer("a", {.min = 1, .max = 9});
  in.integer("ab", {.min = 1, .max = 9});
  Reader map = in.map("map");
  CHECK_FALSE(in.faulty("map"));
  map.integer("x", {});
  map.integer("y", {});
  CHECK(in.faulty("a"));
  CHECK_FALSE(in.faulty("ab"));
  CHECK(in.faulty("map"));
  CHECK(in.faulty("map.x"));
  CHECK(map.faulty("x"));
  CHECK(map.faulty(""));
  CHECK_FALSE(map.faulty("y"));
  CHECK(in.faulty("none"));
  CHECK_FALSE(in.faulty("absent"));
}

TEST_CASE("a reader says where things are") {
  with_reader("a:\n  b: 1\nlist:\n  - x: {y: 2}\nflow: {z: 3}\nnone:\n", [](Reader& in) {
    const auto place = [](const Where& where) {
      return where.file + ":" + std::to_string(where.line) + ":" + std::to_string(where.column);
    };
    CHECK(place(in.where()) == "f:1:1");
    CHECK(place(in.where("a")) == "f:1:1");     // a block: at its key
    CHECK(place(in.where("flow")) == "f:5:7");  // beside its key: at the value
    CHECK(place(in.where("none")) == "f:6:1");  // nothing to point at
    CHECK(place(in.where("absent")) == "f:1:1");
    CHECK(place(in.where("list.0.x.y")) == "f:4:12");  // dotted paths, too
    Reader a = in.map("a");
    CHECK(place(a.where("b")) == "f:2:6");
    CHECK(place(a.where("absent")) == "f:1:1");
    CHECK(a.path() == "a");
    CHECK(a.path("b") == "a.b");
    CHECK(in.path().empty());
    in.ignore("list");
    in.ignore("flow");
    in.ignore("none");
    in.reject_unknown_keys();
  });
}

TEST_CASE("a mistake of the caller's own lands at the key") {
  const auto read = [](Reader& in) {
    in.fail("gpus", "does not divide 64", "use a power of two");
    in.fail("absent", "is needed with gpus", "add it");
    in.fail("", "makes no sense", "start again");
    in.fail("link.latency_us", "is odd", "measure it");
  };
  CHECK(messages("rate: 1\ngpus: 6\nlink: {latency_us: 5}\n", read) ==
        "f:2:7: gpus: does not divide 64; use a power of two\n"
        "f:1:1: absent: is needed with gpus; add it\n"
        "f:1:1: makes no sense; start again\n"
        "f:3:20: link.latency_us: is odd; measure it");
}
