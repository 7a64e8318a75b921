#include "sim/base/csv.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "sim/base/diagnostic.h"

using namespace moesim;

namespace {

std::vector<std::string> texts(const CsvRow& row) {
  std::vector<std::string> result;
  for (const CsvRow::Cell& cell : row.cells) result.push_back(cell.text);
  return result;
}

/// "file:line:col: problem" of every mistake, without hints and carets.
std::vector<std::string> mistakes_in(const std::string& text) {
  try {
    static_cast<void>(CsvTable::parse(text, "t.csv"));
  } catch (const InputError& error) {
    std::vector<std::string> result;
    for (const Diagnostic& diagnostic : error.diagnostics()) {
      CHECK_FALSE(diagnostic.hint.empty());
      result.push_back(diagnostic.where.file + ":" + std::to_string(diagnostic.where.line) + ":" +
                       std::to_string(diagnostic.where.column) + ": " + diagnostic.problem);
    }
    return result;
  }
  return {};
}

}  // namespace

TEST_CASE("cells keep what quotes hold") {
  struct Case {
    const char* why;
    std::string text;
    std::vector<std::string> expect;
  };
  const Case cases[] = {
      {"plain cells", "a,b\n1,2\n", {"1", "2"}},
      {"the last line needs no end", "a,b\n1,2", {"1", "2"}},
      {"empty cells count", "a,b,c\n,,\n", {"", "", ""}},
      {"a comma in quotes", "a,b\n\"x, y\",2\n", {"x, y", "2"}},
      {"a doubled quote is one", "a,b\n\"say \"\"hi\"\"\",2\n", {"say \"hi\"", "2"}},
      {"an empty cell in quotes", "a,b\n\"\",2\n", {"", "2"}},
      {"a line end in quotes", "a,b\n\"x\r\ny\",2\n", {"x\ny", "2"}},
      {"carriage returns end lines", "a,b\r\n1,2\r\n", {"1", "2"}},
      {"blank lines are no rows", "\na,b\n\n1,2\n\n", {"1", "2"}},
      {"a byte order mark is no cell",
       "\xef\xbb\xbf"
       "a,b\n1,2\n",
       {"1", "2"}},
      {"spaces belong to the cell", "a,b\n 1 ,2\n", {" 1 ", "2"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const CsvTable table = CsvTable::parse(c.text, "t.csv");
    REQUIRE(table.rows().size() == 1);
    CHECK(texts(table.rows().front()) == c.expect);
  }
}

TEST_CASE("columns are found by name, and cells know their place") {
  const CsvTable table = CsvTable::parse("id,note\n1,\"two\nlines\"\n2,plain\n", "t.csv");
  REQUIRE(table.column("note"));
  CHECK(*table.column("note") == 1);
  CHECK_FALSE(table.column("other"));
  REQUIRE(table.rows().size() == 2);
  const Where first = table.where(table.rows()[0].cells[1]);
  CHECK(first.file == "t.csv");
  CHECK(first.line == 2);
  CHECK(first.column == 3);
  CHECK(table.where(table.rows()[1].cells[1]).line == 4);  // after a cell of two lines
}

TEST_CASE("every damage is reported at its place") {
  struct Case {
    const char* why;
    std::string text;
    std::vector<std::string> expect;
  };
  const Case cases[] = {
      {"nothing at all", "", {"t.csv:1:1: the table is empty"}},
      {"only blank lines", "\n\n", {"t.csv:1:1: the table is empty"}},
      {"a row too short", "a,b\n1\n", {"t.csv:2:1: 1 cells, the header has 2"}},
      {"a row too long", "a,b\n1,2,3\n", {"t.csv:2:1: 3 cells, the header has 2"}},
      {"a stray quote", "a,b\n1,x\"y\n", {"t.csv:2:4: a quote inside a cell without quotes"}},
      {"text behind a quoted cell", "a,b\n\"x\"y,2\n", {"t.csv:2:4: text after a closing quote"}},
      {"an open quote", "a,b\n1,\"x\n2,3\n", {"t.csv:2:3: a quote is never closed"}},
      {"a column twice", "a,a\n1,2\n", {"t.csv:1:3: a second column 'a'"}},
      {"a column without a name", "a,\n1,2\n", {"t.csv:1:3: a column without a name"}},
      {"two mistakes at once",
       "a,b\n1\n\"x\"y,2\n",
       {"t.csv:2:1: 1 cells, the header has 2", "t.csv:3:4: text after a closing quote"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(mistakes_in(c.text) == c.expect);
  }
}

TEST_CASE("a hopeless file is not reported line by line") {
  std::string text = "a,b\n";
  for (int i = 0; i < 1000; ++i) text += "1\n";
  CHECK(mistakes_in(text).size() == 20);
}
