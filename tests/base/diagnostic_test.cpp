#include "sim/base/diagnostic.h"

#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

using namespace moesim;

namespace {

/// A file in a fresh folder, removed at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content) {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("moesim_diagnostic_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    std::ofstream(path_, std::ios::binary) << content;
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::filesystem::remove(path_); }
  [[nodiscard]] std::string name() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

Where at(const std::string& file, int line = 0, int column = 0) {
  Where where;
  where.file = file;
  where.line = line;
  where.column = column;
  return where;
}

/// What follows the first line of a message.
std::string excerpt(const std::string& content, int line, int column) {
  const TemporaryFile file(content);
  const Where where{file.name(), line, column};
  const std::string text = to_text({where, "k", "p", "h"});
  const std::size_t end = text.find('\n');
  return end == std::string::npos ? "" : text.substr(end + 1);
}

}  // namespace

TEST_CASE("a mistake prints its place, key, problem, hint, line and caret") {
  const TemporaryFile file("gpu:\n  name: H100\n  # dense\n  mem_bw: 3350\n");
  const Where where{file.name(), 4, 11};
  const Diagnostic mistake{where, "gpu.mem_bw", "3350 is outside 1e11 to 1e14 bytes/s",
                           "3350 GB/s is written 3.35e12"};
  CHECK(to_text(mistake) == file.name() +
                                ":4:11: gpu.mem_bw: 3350 is outside 1e11 to 1e14 bytes/s; 3350 "
                                "GB/s is written 3.35e12\n"
                                "  4 |   mem_bw: 3350\n"
                                "    |           ^");
}

TEST_CASE("what is unknown about a place is left out") {
  CHECK(to_text({at("--set"), "a.b", "p", "h"}) == "--set: a.b: p; h");
  CHECK(to_text({at("no such file", 3, 0), "a", "p", "h"}) == "no such file:3: a: p; h");
  CHECK(to_text({at("no such file", 3, 9), "", "p", "h"}) == "no such file:3:9: p; h");
  CHECK(to_text({at(""), "", "p", ""}) == "p");
}

TEST_CASE("the excerpt shows the line as it is") {
  struct Case {
    std::string why;
    std::string content;
    int line, column;
    std::string expect;
  };
  const Case cases[] = {
      {"first column", "a: 1\n", 1, 1, "  1 | a: 1\n    | ^"},
      {"no line end at the end of the file", "a: 1", 1, 4, "  1 | a: 1\n    |    ^"},
      {"a line beyond the file", "a: 1\n", 3, 1, ""},
      {"a column beyond the line points after it", "ab\n", 1, 9, "  1 | ab\n    |   ^"},
      {"no column, no caret", "a: 1\n", 1, 0, "  1 | a: 1"},
      {"Windows line ends are dropped", "a: 1\r\nb: 2\r\n", 1, 4, "  1 | a: 1\n    |    ^"},
      {"a tab moves the caret as it moves the text", "\ta: 1\n", 1, 2, "  1 | \ta: 1\n    | \t^"},
      {"a character of two bytes takes one column", "\xc3\xa9: 1\n", 1, 5,
       "  1 | \xc3\xa9: 1\n    |    ^"},
      {"control characters do not reach the terminal", "a\x1b[0m: 1\n", 1, 1,
       "  1 | a?[0m: 1\n    | ^"},
      {"wide line numbers keep the bars aligned", std::string(1233, '\n') + "x: 1\n", 1234, 4,
       "1234 | x: 1\n     |    ^"},
      {"a gzip file has no lines to show", "\x1f\x8b\x08 a: 1\n", 1, 1, ""},
      {"nor has one of zstd", "\x28\xb5\x2f\xfd a: 1\n", 1, 1, ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(excerpt(c.content, c.line, c.column) == c.expect);
  }
}

TEST_CASE("a long line is cut to the part around the caret") {
  const std::string line = std::string(500, 'a') + "X" + std::string(500, 'b');
  const std::string shown = excerpt(line, 1, 501);
  CHECK(shown.size() < 250);
  const std::size_t end = shown.find('\n');
  const std::string first = shown.substr(0, end);
  const std::string second = shown.substr(end + 1);
  CHECK(first.at(second.find('^')) == 'X');
}

TEST_CASE("a message stays on one line whatever is in it") {
  CHECK(to_text({at("f"), "a\nb", "found 'x\x1b'", "h\t"}) == "f: a\\nb: found 'x\\x1b'; h\\x09");
}

TEST_CASE("an input error carries every mistake, in order") {
  const InputError error({{at("f"), "a", "p1", "h1"}, {at("f"), "b", "p2", "h2"}});
  CHECK(std::string(error.what()) == "f: a: p1; h1\nf: b: p2; h2");
  REQUIRE(error.diagnostics().size() == 2);
  CHECK(error.diagnostics()[1].key == "b");
}

TEST_CASE("a collection throws only if it has something") {
  Diagnostics none;
  CHECK(none.empty());
  CHECK_NOTHROW(none.throw_if_any());
  Diagnostics some;
  some.add({at("f"), "a", "p", "h"});
  some.add({at("f"), "b", "p", "h"});
  CHECK(some.size() == 2);
  CHECK_THROWS_AS(some.throw_if_any(), InputError);
}

TEST_CASE("the nearest name is within a third of the length") {
  struct Case {
    std::string why;
    std::string name;
    std::vector<std::string> known;
    std::string expect;
  };
  const std::vector<std::string> many(13, "zzzzzz");
  const Case cases[] = {
      {"four insertions in 17 letters",
       "bf16_tc_flops",
       {"mem_bw", "bfloat16_tc_flops"},
       "did you mean 'bfloat16_tc_flops'?"},
      {"one letter dropped", "gpu", {"gpus"}, "did you mean 'gpus'?"},
      {"swapped neighbours count once", "fcsf", {"sjf", "fcfs"}, "did you mean 'fcfs'?"},
      {"one replacement in two letters is too much", "tp", {"pp"}, "known: pp"},
      {"nothing near", "colour", {"name", "count"}, "known: name, count"},
      {"the nearer of two", "counts", {"mounts", "count"}, "did you mean 'mounts'?"},
      {"an exact match is nearest", "count", {"mount", "count"}, "did you mean 'count'?"},
      {"a name without its unit", "ttft", {"ttft_ms", "percentile"}, "did you mean 'ttft_ms'?"},
      {"one of two that go on", "max", {"max_a", "max_b"}, "known: max_a, max_b"},
      {"no names at all", "x", {}, "no names are known here"},
      {"an empty name", "", {"a", "b"}, "known: a, b"},
      {"twelve names, then the count", "x", many,
       "known: zzzzzz, zzzzzz, zzzzzz, zzzzzz, zzzzzz, zzzzzz, zzzzzz, zzzzzz, zzzzzz, zzzzzz, "
       "zzzzzz, zzzzzz, ... (13 in all)"},
      {"a name beyond any of ours is not compared", std::string(5000, 'a'), {"aaa"}, "known: aaa"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(nearest_name_hint(c.name, c.known) == c.expect);
  }
}
