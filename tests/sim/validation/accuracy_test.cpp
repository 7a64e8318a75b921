#include <cmath>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "sim/validation/accuracy_report.h"

using namespace moesim;

namespace {

ComparedValue value(const char* source, bool moe, double predicted, double measured = 100) {
  ComparedValue result;
  result.id = std::string(source) + "-row";
  result.metric = "weights";
  result.measured = measured;
  result.predicted = predicted;
  result.source = source;
  result.gpu = "h100_sxm";
  result.moe = moe;
  return result;
}

const ErrorGroup* find(const std::vector<ErrorGroup>& groups, const std::string& name) {
  for (const ErrorGroup& group : groups) {
    if (group.name == name) return &group;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("an error is a fraction of what was measured, or a difference from nothing") {
  CHECK(value("s", true, 90).error() == doctest::Approx(-0.1));
  CHECK(value("s", true, 1, 0).error() == doctest::Approx(1));
}

TEST_CASE("groups by source, class and card; classes are medians over sources") {
  // MoE errors: a 10 %; b -20 %, 30 %, 40 %. Dense: b 1 %.
  const std::vector<ErrorGroup> groups =
      group_errors({value("a", true, 110), value("b", true, 80), value("b", true, 130),
                    value("b", true, 140), value("b", false, 101)});
  struct Case {
    const char* name;
    std::size_t n;
    double median_ape, p90_ape, median_pe;
  };
  const Case cases[] = {
      {"a", 1, 0.10, 0.10, 0.10},
      {"b", 4, 0.25, 0.37, 0.155},     // 1, 20, 30, 40: p90 = 30 + 0.7 x 10
      {"b/moe", 3, 0.30, 0.38, 0.30},  // 20, 30, 40; signed -20, 30, 40
      {"b/dense", 1, 0.01, 0.01, 0.01},
      {"gpu/h100_sxm", 5, 0.20, 0.36, 0.10},  // 1, 10, 20, 30, 40; signed -20, 1, 10, 30, 40
      {"all/moe", 4, 0.20, 0.24, 0.20},       // between a and b/moe
      {"all/dense", 1, 0.01, 0.01, 0.01},
      {"pooled", 5, 0.20, 0.36, 0.10},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const ErrorGroup* const group = find(groups, c.name);
    REQUIRE(group != nullptr);
    CHECK(group->metric == "weights");
    CHECK(group->n == c.n);
    CHECK(group->median_ape == doctest::Approx(c.median_ape));
    CHECK(group->p90_ape == doctest::Approx(c.p90_ape));
    CHECK(group->median_pe == doctest::Approx(c.median_pe));
  }
  CHECK(find(groups, "engine/") == nullptr);  // no name, no group
}

TEST_CASE("no rows, no groups") {
  CHECK(group_errors({}).empty());
}

TEST_CASE("the JSON has the keys of the contract") {
  Validation validation;
  validation.rows = {value("a", true, 110)};
  validation.groups = group_errors(validation.rows);
  validation.unsupported = {{"x", "engine sglang is not modelled yet"}};
  std::ostringstream text;
  write_json(validation, text);
  const nlohmann::json json = nlohmann::json::parse(text.str());
  CHECK(json["schema_version"] == 1);
  CHECK(
      json["rows"].dump() ==
      R"([{"id":"a-row","measured":100,"metric":"weights","p10":null,"p90":null,"predicted":110}])");
  CHECK(json["groups"][0].dump() ==
        R"({"median_ape":0.1,"median_pe":0.1,"metric":"weights","n":1,"name":"a","p90_ape":0.1})");
  CHECK(json["unsupported"].dump() ==
        R"([{"id":"x","reason":"engine sglang is not modelled yet"}])");
}

TEST_CASE("the table shows rows, groups, and counts by reason") {
  Validation validation;
  validation.rows = {value("a", true, 110)};
  validation.rows[0].assumed = {"default sequences", "model's length"};
  validation.groups = group_errors(validation.rows);
  validation.unsupported = {
      {"x", "one"}, {"y", "two"}, {"z", "one"}, {"note", "a file", 7}, {"note", "a remark", 0}};
  std::ostringstream text;
  write_text(validation, text);
  CHECK(text.str() ==
        "weights, GiB per GPU        predicted       logged      error  assumed\n"
        "  a-row                        110.00       100.00   +10.00 %  default sequences, model's "
        "length\n"
        "\n"
        "group                          metric     n   median |e|      p90 |e|     median e\n"
        "  a                           weights     1      10.00 %      10.00 %     +10.00 %\n"
        "  gpu/h100_sxm                weights     1      10.00 %      10.00 %     +10.00 %\n"
        "  all/moe                     weights     1      10.00 %      10.00 %     +10.00 %\n"
        "  pooled                      weights     1      10.00 %      10.00 %     +10.00 %\n"
        "\n"
        "not compared (rows by name: --json)\n"
        "      2  one\n"
        "      1  two\n"
        "      7  a file\n"
        "      -  a remark\n");
}

TEST_CASE("a value left out is in the document, and in no group") {
  Validation validation;
  validation.rows = {value("a", true, 110), value("a", true, 150)};
  validation.rows[1].left_out = "a long tail";
  validation.rows[1].id = "b-row";
  validation.groups = group_errors(validation.rows);
  CHECK(find(validation.groups, "pooled")->n == 1);
  std::ostringstream text, json;
  write_text(validation, text);
  CHECK(text.str().find("in no group (rows by name: --json)\n      1  a long tail\n") !=
        std::string::npos);
  write_json(validation, json);
  CHECK(nlohmann::json::parse(json.str())["rows"][1]["left_out"] == "a long tail");
}

TEST_CASE("coverage counts only predictions that have an interval") {
  std::vector<ComparedValue> rows(4, value("a", true, 110));  // 100 was measured
  rows[0].p10 = 90;
  rows[0].p90 = 120;
  rows[1].p10 = 101;
  rows[1].p90 = 120;
  rows[2].p10 = 100;
  rows[2].p90 = 120;
  rows[2].moe = false;
  const std::vector<IntervalCoverage> coverage = interval_coverage(rows);
  REQUIRE(coverage.size() == 3);
  CHECK(coverage[0].name == "moe");
  CHECK(coverage[0].share == 0.5);
  CHECK(coverage[1].name == "dense");
  CHECK(coverage[1].share == 1);
  CHECK(coverage[2].name == "pooled");
  CHECK(coverage[2].n == 3);
  CHECK(interval_coverage({value("a", true, 110)}).empty());
}

TEST_CASE("the pages hold the tables, and a point for every value") {
  Validation validation;
  validation.rows = {value("a", true, 110), value("a", false, 90)};
  validation.rows[0].id = "<a & b>";
  validation.groups = group_errors(validation.rows);
  validation.unsupported = {{"x", "a|b"}};
  std::ostringstream html, markdown;
  write_html(validation, {"Things & others", "data: t"}, html);
  const std::string page = html.str();
  CHECK(page.starts_with("<!DOCTYPE html>"));
  CHECK(page.find("<script") == std::string::npos);
  CHECK(page.find("http") == std::string::npos);  // nothing from outside
  CHECK(page.find("Things &amp; others") != std::string::npos);
  CHECK(page.find("<title>&lt;a &amp; b></title>") != std::string::npos);
  CHECK(page.find("class=\"moe\" cx=\"42.0\"") == std::string::npos);  // 100 is not the left edge
  CHECK(page.find("circle class=\"dense\"") != std::string::npos);
  write_markdown(validation, {"Things", "data: t"}, markdown);
  CHECK(markdown.str().starts_with("## Things\n"));
  CHECK(markdown.str().find("| all/moe | weights | 1 | 10.0 % | 10.0 % | +10.0 % |\n") !=
        std::string::npos);
  CHECK(markdown.str().find("| a\\|b | 1 |\n") != std::string::npos);
}

TEST_CASE("a page of very many values stays small, and says that it thins them") {
  Validation validation;
  for (int i = 0; i < 60000; ++i) {
    const double us = 1 + 0.01 * i;
    ComparedValue row = value("an_operator/of_a_system/of_a_framework/of_a_format", i % 2 == 0,
                              us * (1 + 0.1 * std::sin(i)), us);
    row.metric = "latency";
    validation.rows.push_back(std::move(row));
  }
  std::ostringstream page;
  write_html(validation, {"T", ""}, page);
  CHECK(page.str().size() < 500'000);
  CHECK(page.str().find("60000 values; those within a pixel of each other drawn once") !=
        std::string::npos);
  CHECK(page.str().find("<circle class=\"moe\" cx=\"1") != std::string::npos);
  CHECK(page.str().find("<circle class=\"dense\" cx=\"1") != std::string::npos);
  validation.rows.resize(100);
  std::ostringstream few;
  write_html(validation, {"T", ""}, few);
  CHECK(few.str().find("(100 values)") != std::string::npos);
  CHECK(few.str().find("<title>an_operator") != std::string::npos);
}
