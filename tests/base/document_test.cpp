#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include "sim/base/reader.h"

using namespace moesim;

namespace {

const Where kSet{"--set", 0, 0};

Document parse(const std::string& text) {
  return Document::parse(text, "f");
}

/// The document as JSON after one `set`, or the message of the error.
std::string after_set(const std::string& text, const std::string& path, const std::string& value) {
  Document document = parse(text);
  const std::string before = document.to_json();
  try {
    document.set(path, value, kSet);
  } catch (const InputError& error) {
    CHECK(document.to_json() == before);  // a set that fails changes nothing
    for (const Diagnostic& diagnostic : error.diagnostics()) CHECK_FALSE(diagnostic.hint.empty());
    return error.what();
  }
  return document.to_json();
}

}  // namespace

TEST_CASE("a document is written as JSON with its types and its order") {
  struct Case {
    std::string why;
    std::string yaml, json;
  };
  const Case cases[] = {
      {"keys in file order", "b: 1\na: 2\n", R"({"b": 1, "a": 2})"},
      {"a literal stays as written", "x: [3.35e12, 0.10, 1E5, -7]",
       R"({"x": [3.35e12, 0.10, 1e5, -7]})"},
      {"a literal JSON does not know is mended", "x: [+5, .5, 5., 007, -.5, 00]",
       R"({"x": [5, 0.5, 5.0, 7, -0.5, 0]})"},
      {"a quoted number is text", "x: ['8', \"0.19\"]", R"({"x": ["8", "0.19"]})"},
      {"bools and their quoted twins", "x: [true, False, TRUE, 'true']",
       R"({"x": [true, false, true, "true"]})"},
      {"yes and no are text in YAML 1.2", "x: [yes, no, on, y]",
       R"({"x": ["yes", "no", "on", "y"]})"},
      {"null in all spellings", "a:\nb: ~\nc: null\nd: 'null'\n",
       R"({"a": null, "b": null, "c": null, "d": "null"})"},
      {"empty containers and text", "a: {}\nb: []\nc: ''\n", R"({"a": {}, "b": [], "c": ""})"},
      {"what needs escaping", "x: \"a\\\"b\\\\c\\n\\t\\u0001\\x7f\"",
       R"({"x": "a\"b\\c\n\t\u0001\u007f"})"},
      {"UTF-8 as it is", "x: \"\xc3\xa9 \\u20ac\"", "{\"x\": \"\xc3\xa9 \xe2\x82\xac\"}"},
      {"keys are text, whatever they look like", "1: a\ntrue: b\n'x y': c\n",
       R"({"1": "a", "true": "b", "x y": "c"})"},
      {"block text", "x: |\n  a\n  b\ny: >-\n  a\n  b\n", R"({"x": "a\nb\n", "y": "a b"})"},
      {"JSON with tabs", "{\n\t\"a\":1,\n\t\"b\":[{\"c\":null}]\n}",
       R"({"a": 1, "b": [{"c": null}]})"},
      {"Windows line ends", "a: 1\r\nb: x\r\n", R"({"a": 1, "b": "x"})"},
      {"an end marker", "a: 1\n...\n", R"({"a": 1})"},
      {"a start marker", "---\na: 1\n", R"({"a": 1})"},
      {"not only mappings", "[1, [2, 3]]", "[1, [2, 3]]"},
      {"a single value", "'x'", "\"x\""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const std::string json = parse(c.yaml).to_json();
    CHECK(json == c.json);
    CHECK(parse(json).to_json() == json);
  }
}

TEST_CASE("canonical JSON is the same for what means the same, and only for that") {
  struct Case {
    const char* why;
    std::string yaml;
    std::string canonical;
  };
  const Case cases[] = {
      {"keys are sorted at every level", "b: 1\na: {d: 2, c: [{z: 1, y: 2}]}\n",
       R"({"a": {"c": [{"y": 2, "z": 1}], "d": 2}, "b": 1})"},
      {"lists keep their order", "a: [2, 1]\n", R"({"a": [2, 1]})"},
      {"one number, one text", "[1, 1.0, +1, 1e0, 0.10, 1e-1, 0, -0.0, 2e12]\n",
       "[1, 1, 1, 1, 0.1, 0.1, 0, 0, 2e12]"},
      {"whole numbers beyond 2^53 stay apart", "[9007199254740993, 9007199254740992]\n",
       "[9007199254740993, 9007199254740992]"},
      {"text that looks like a number is none", "['1', 1, 'true', true, True]\n",
       R"(["1", 1, "true", true, true])"},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    CHECK(parse(c.yaml).to_canonical_json() == c.canonical);
  }
}

TEST_CASE("comments end where YAML says, and what looks like one stays") {
  struct Case {
    const char* text;
    const char* json;
  };
  for (const Case& c :
       {Case{"# it's \"odd\" | >\na: 1 # x: 2\nb: 2\n", R"({"a": 1, "b": 2})"},
        Case{"a: b#c\nd: e\n", R"({"a": "b#c", "d": "e"})"},
        Case{"a: 'x # y' # z\nb: 1\n", R"({"a": "x # y", "b": 1})"},
        Case{"# '\na: \"x # y\"\nb: 1 # '\n", R"({"a": "x # y", "b": 1})"},
        Case{"a: | # text\n  # kept\n  b\nc: 1\n", R"({"a": "# kept\nb\n", "c": 1})"},
        Case{"a: [1, # one\n  2] # two\n", R"({"a": [1, 2]})"},
        Case{"a: 1 # x\r\nb: 2\r\n", R"({"a": 1, "b": 2})"}}) {
    CAPTURE(std::string(c.text));
    CHECK(parse(c.text).to_json() == c.json);
  }
  // A comment ends a plain value: it does not go on in the next line.
  CHECK_THROWS_AS(parse("a: b # c\n  d\n"), InputError);
  // Places are those of the file, comments included.
  const Document document = parse("# one, two\na: 1 # three\nb: {c: 2} # four\n");
  Diagnostics none;
  const Reader root(document, none);
  CHECK(root.where("b.c").line == 3);
  CHECK(root.where("b.c").column == 8);
}

TEST_CASE("set replaces, adds and makes what is on the way") {
  struct Case {
    std::string why;
    std::string text, path, value, expect;
  };
  const std::string nodes = "nodes: [{gpus: 8}, {gpus: 4}]";
  const Case cases[] = {
      {"replace", "a: 1\nb: 2\n", "a", "3", R"({"a": 3, "b": 2})"},
      {"add at the end", "a: 1\n", "b", "2", R"({"a": 1, "b": 2})"},
      {"text", "a: 1\n", "a", "fast", R"({"a": "fast"})"},
      {"quotes make text", "a: 1\n", "a", "\"8\"", R"({"a": "8"})"},
      {"a mapping", "a: 1\n", "a", "{kind: poisson, request_rate: 4}",
       R"({"a": {"kind": "poisson", "request_rate": 4}})"},
      {"a list", "a: 1\n", "a", "[1, 2]", R"({"a": [1, 2]})"},
      {"a scalar replaces a mapping", "a: {b: 1}\n", "a", "2", R"({"a": 2})"},
      {"nothing is null", "a: 1\n", "a", "", R"({"a": null})"},
      {"inside a mapping", "a: {b: 1, c: 2}\n", "a.b", "5", R"({"a": {"b": 5, "c": 2}})"},
      {"mappings on the way", "a: 1\n", "x.y.z", "5", R"({"a": 1, "x": {"y": {"z": 5}}})"},
      {"null becomes a mapping", "a:\n", "a.b", "5", R"({"a": {"b": 5}})"},
      {"a list item", nodes, "nodes.1.gpus", "1", R"({"nodes": [{"gpus": 8}, {"gpus": 1}]})"},
      {"a whole list item", nodes, "nodes.0", "7", R"({"nodes": [7, {"gpus": 4}]})"},
      {"one past the end", nodes, "nodes.2.gpus", "2",
       R"({"nodes": [{"gpus": 8}, {"gpus": 4}, {"gpus": 2}]})"},
      {"a list on the way", "a: 1\n", "nodes.0.gpus", "2", R"({"a": 1, "nodes": [{"gpus": 2}]})"},
      {"a numeric key of a mapping", "a: {\"0\": x}\n", "a.0", "y", R"({"a": {"0": "y"}})"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(after_set(c.text, c.path, c.value) == c.expect);
  }
}

TEST_CASE("a set that cannot be is a mistake at its origin, and changes nothing") {
  struct Case {
    std::string why;
    std::string text, path, value, expect;
  };
  const Case cases[] = {
      {"inside a scalar", "a: 1\n", "a.b", "2",
       "--set: a.b: 'b' cannot be set inside the number 1; replace the whole value"},
      {"beyond the end of a list", "a: [1]\n", "a.2", "2",
       "--set: a.2: a list of 1 has no item '2'; use 0 to 1; 1 adds one"},
      {"a name in a list", "a: [1]\n", "a.b", "2",
       "--set: a.b: a list of 1 has no item 'b'; use 0 to 1; 1 adds one"},
      {"a leading zero is a name", "a: [1]\n", "a.00", "2",
       "--set: a.00: a list of 1 has no item '00'; use 0 to 1; 1 adds one"},
      {"the second item of no list", "a: 1\n", "x.1", "2",
       "--set: x.1: there is no list yet, so no item 1; start with item 0"},
      {"an empty name", "a: 1\n", "a..b", "2",
       "--set: a..b: a name in the path is empty; write it as key.key.0.key"},
      {"no name", "a: 1\n", "", "2",
       "--set: a name in the path is empty; write it as key.key.0.key"},
      {"a value that is not YAML", "a: 1\n", "a", "[1",
       "--set: a: not valid YAML: end of sequence flow not found; a '[' is not closed, or a ',' is "
       "missing"},
      {"a duplicate key in the value", "a: 1\n", "a", "{b: 1, b: 2}",
       "--set: a.b: duplicate key; remove one of the two"},
      {"an anchor in the value", "a: 1\n", "a", "{b: &x 1}",
       "--set: a.b: anchors (&name) are not supported; remove it and write the value out where it "
       "is "
       "used"},
      {"not a number in the value", "a: 1\n", "a", ".nan",
       "--set: a: .nan is not allowed; write a finite number, or leave the key out"},
      {"bytes that are no text", "a: 1\n", "a", "\xff",
       "--set: a: byte 0xff is not valid UTF-8; save the file as UTF-8 text"},
      {"a list for the root", "[1]", "a", "2",
       "--set: a: a list of 1 has no item 'a'; use 0 to 1; 1 adds one"},
      {"a scalar for the root", "x", "a", "2",
       "--set: a: 'a' cannot be set inside text 'x'; replace the whole value"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(after_set(c.text, c.path, c.value) == c.expect);
  }
  std::string deep = "a";
  for (int i = 0; i < 64; ++i) deep += ".a";
  CHECK(after_set("b: 1\n", deep, "1").find("nested more than 64 levels deep") !=
        std::string::npos);
  CHECK(after_set("b: 1\n", std::string(129, 'k'), "1").find("too long") != std::string::npos);
}

TEST_CASE("a mistake in a set value points to where it was set") {
  Document document = parse("gpus: 1\nlink:\n  latency_us: 1\n");
  document.set("gpus", "x", kSet);
  document.set("link.extra", "1", kSet);
  document.set("arrival", "{rate: -1}", {"scenario.yaml", 31, 5});
  Diagnostics diagnostics;
  Reader in(document, diagnostics);
  in.integer("gpus", {.min = 1, .max = 8});
  Reader link = in.map("link");
  link.number("latency_us", {});
  link.reject_unknown_keys();
  Reader arrival = in.map("arrival");
  arrival.number("rate", {});
  arrival.text("kind");
  try {
    diagnostics.throw_if_any();
    FAIL("four mistakes are not reported");
  } catch (const InputError& error) {
    CHECK(std::string(error.what()) ==
          "--set: gpus: expected a whole number, found text 'x'; write a whole number\n"
          "--set: link.extra: unknown key; known: latency_us\n"
          "scenario.yaml:31:5: arrival.rate: -1 is below 0; write 0 or more\n"
          "scenario.yaml:31:5: arrival.kind: required key is missing; write text");
  }
}

TEST_CASE("get writes a value that set reads back") {
  const Document document = parse(
      "a: {b: 1, c: [x, \"y z\", '8', true, ~, 'no: t', \"\", 1e3, +5, '{', .x, '-', null]}\n"
      "t: \"line\\n\\\"quoted\\\"\"\n"
      "\"key with space\": 1\n"
      "'9': {nested: []}\n"
      "p: models/configs/DeepSeek-V3.json\n");
  struct Case {
    const char* path;
    const char* expect;
  };
  const Case cases[] = {
      {"a.b", "1"},
      {"a.c",
       "[x, \"y z\", \"8\", true, null, \"no: t\", \"\", 1e3, 5, \"{\", \".x\", \"-\", null]"},
      {"t", "\"line\\n\\\"quoted\\\"\""},
      {"key with space", "1"},
      {"9", "{nested: []}"},
      {"a.c.1", "\"y z\""},
      {"p", "models/configs/DeepSeek-V3.json"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.path);
    const std::optional<std::string> written = document.get(c.path);
    REQUIRE(written.has_value());
    CHECK(*written == c.expect);
    Document copy = document;
    copy.set(c.path, "0", kSet);
    copy.set(c.path, *written, kSet);
    CHECK(copy.to_json() == document.to_json());
  }
  for (const char* absent : {"z", "a.z", "a.c.13", "a.b.c", "", "a.c.x", "a."}) {
    CAPTURE(absent);
    CHECK_FALSE(document.get(absent).has_value());
  }
}

TEST_CASE("erase removes a key of a mapping, and says if it did") {
  Document document = parse("a: 1\nb: {c: 1, d: 2}\nl: [{e: 1, f: 2}]\n");
  CHECK(document.erase("a"));
  CHECK_FALSE(document.erase("a"));
  CHECK(document.erase("b.c"));
  CHECK(document.erase("l.0.e"));
  CHECK_FALSE(document.erase("l.0"));
  CHECK_FALSE(document.erase("l.7.e"));
  CHECK_FALSE(document.erase("b.d.x"));
  CHECK_FALSE(document.erase(""));
  CHECK(document.to_json() == R"({"b": {"d": 2}, "l": [{"f": 2}]})");
}

TEST_CASE("copies are independent, and keep their places") {
  Document original = parse("a: 1\nb: x\n");
  Document copy = original;
  copy.set("a", "2", kSet);
  CHECK(original.get("a") == "1");
  CHECK(copy.get("a") == "2");
  CHECK(copy.file_name() == "f");
  Diagnostics diagnostics;
  const Reader in(copy, diagnostics);
  CHECK(in.where("b").line == 2);
  CHECK(in.where("b").column == 4);

  Document assigned = parse("z: 1\n");
  assigned = original;
  original.set("a", "3", kSet);
  CHECK(assigned.get("a") == "1");
  const Document& same = assigned;
  assigned = same;
  CHECK(assigned.get("a") == "1");
  const Document moved = std::move(assigned);
  CHECK(moved.get("a") == "1");
}

TEST_CASE("a file is loaded under its own name, and its lines are shown") {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("moesim_load_" + std::to_string(::getpid()));
  std::ofstream(path) << "gpu:\n  mem_bw: 1\n  mem_bw: 2\n";
  try {
    const Document document = Document::load(path);
    Diagnostics diagnostics;
    Reader in(document, diagnostics);
    CHECK(in.map("gpu").integer("mem_bw", {}) == 1);  // the first one counts
    diagnostics.throw_if_any();
    FAIL("a duplicate key passed");
  } catch (const InputError& error) {
    CHECK(std::string(error.what()) ==
          path.string() +
              ":3:3: gpu.mem_bw: duplicate key, already given on line 2; remove one of the two\n"
              "  3 |   mem_bw: 2\n"
              "    |   ^");
  }
  std::filesystem::remove(path);
  CHECK_THROWS_AS((void)Document::load(path), InputError);
}

TEST_CASE("a file with thousands of mistakes reports a hundred") {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "a: 1\n";
  try {
    const Document document = parse(text);
    Diagnostics diagnostics;
    const Reader in(document, diagnostics);
    diagnostics.throw_if_any();
    FAIL("duplicates passed");
  } catch (const InputError& error) {
    CHECK(error.diagnostics().size() == 100);
  }
}
