#include "sim/validation/serving_rows.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <string>
#include <vector>

#include "sim/validation/row_reader.h"

using namespace moesim;

namespace {

/// A row `cells` of these columns, its id first, and of a model, a card and an engine.
ServingRow row_of(const std::string& header, const std::string& cells) {
  const CsvTable table = CsvTable::parse(
      header + ",model,gpu,engine\n" + cells + ",Mixtral-8x7B,H100-SXM-80GB,vLLM\n", "t.csv");
  REQUIRE(is_serving_table(table));
  return read_serving_rows(table, "file").front();
}

/// "key: problem" of each mistake, with its place.
std::vector<std::string> mistakes_in(const std::string& text) {
  std::vector<std::string> mistakes;
  try {
    (void)read_serving_rows(CsvTable::parse(text, "t.csv"), "file");
  } catch (const InputError& error) {
    for (const Diagnostic& one : error.diagnostics())
      mistakes.push_back(
          fmt::format("{}:{}: {}: {}", one.where.line, one.where.column, one.key, one.problem));
  }
  return mistakes;
}

}  // namespace

TEST_CASE("what is published per GPU becomes a rate of the system") {
  const std::string header = "id,n_gpus,disagg,output_tok_s,out_tok_s_per_gpu,total_tok_s_per_gpu";
  const ServingRow row = row_of(header, "a,8,0,,100,250");
  REQUIRE(row.measured.size() == 2);
  CHECK(row.measured[0].metric == "output_tok_s");
  CHECK(row.measured[0].value == 800);
  CHECK(row.measured[1].metric == "total_tok_s");
  CHECK(row.measured[1].value == 2000);
  const ServingRow both = row_of(header, "a,8,0,790,100,");
  REQUIRE(both.measured.size() == 1);
  CHECK(both.measured[0].value == 790);
  // Split systems publish output per decode GPU: n_gpus is not the factor.
  CHECK(row_of(header, "a,8,1,,100,250").measured.empty());
}

TEST_CASE("cells are read as people wrote them; one that cannot be makes its row unusable") {
  const std::string header = "id,tpot_ms_mean,tp,isl,max_batch,gpu_mem_util,request_rate_rps";
  const ServingRow row = row_of(header,
                                "a,12.5,16 (implied),32 (script default),896 per GPU (made up),"
                                "kv_free_frac 0.95 (0.90 on OOM),inf");
  CHECK(row.unclear.empty());
  CHECK(row.tp == 16);
  CHECK(row.isl == 32);
  CHECK(row.max_batch == 896);
  CHECK(row.memory_fraction == 0.95);
  CHECK(row.all_at_once);
  CHECK(row.source == "file");
}

TEST_CASE("a cell that is no such number says so, with its place") {
  struct Case {
    const char *column, *cell, *reason;
  };
  const char* const count = "is not a whole number above 0";
  const char* const amount = "is not a number above 0";
  const char* const share = "is not a share above 0, at most 1";
  const Case cases[] = {
      {"tp", "two", count},
      {"tp", "0", count},
      {"tp", "2.5", count},
      {"n_gpus", "-8", count},
      {"concurrency", "abc", count},
      {"concurrency", "-1", count},
      {"concurrency", "0", count},
      {"num_requests", "1e10", "is above 1e+09"},
      {"isl", "-5", amount},
      {"osl", "0", amount},
      {"request_rate_rps", "-3", amount},
      {"tpot_ms_p50", "nan", amount},
      {"total_tok_s", "-5", amount},
      {"gpu_mem_util", "2", "is above 1"},
      {"gpu_mem_util", "-0.9", share},
      {"gpu_mem_util", "lots", share},
      {"gpu_mem_util", "kv_free_frac 1.5", "is above 1"},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.column));
    CAPTURE(std::string(c.cell));
    const ServingRow row =
        row_of(std::string("id,output_tok_s,") + c.column, std::string("a,12.5,") + c.cell);
    CHECK(row.unclear == std::vector<std::string>{
                             fmt::format("t.csv:2:8: {}: '{}' {}", c.column, c.cell, c.reason)});
  }
  const ServingRow both = row_of("id,output_tok_s,tp,isl", "a,-5,x,100");
  CHECK(both.unclear.size() == 2);
}

TEST_CASE("means are no whole tokens") {
  CHECK(row_of("id,output_tok_s,osl", "a,12.5,\"145.9 (mean, of all)\"").osl == 145.9);
}

TEST_CASE("tables that cannot be used are refused, every mistake at once") {
  using Mistakes = std::vector<std::string>;
  CHECK(mistakes_in("tp,output_tok_s\n1,2\n") ==
        Mistakes{"1:1: id: missing column", "1:1: model: missing column",
                 "1:1: gpu: missing column", "1:1: engine: missing column"});
  CHECK(mistakes_in("id,model,gpu,engine,output_tok_s\n") ==
        Mistakes{"1:1: : no rows below the header"});
  CHECK(mistakes_in(
            "model,id,gpu,engine,output_tok_s\nm,a,g,e,1\nm,b,g,e,1\nm,a,g,e,1\nm,,g,e,1\n") ==
        Mistakes{"5:3: id: a row without an id"});
}

TEST_CASE("any measured column makes a table of serving measurements") {
  const auto is_serving = [](const char* header) {
    return is_serving_table(CsvTable::parse(std::string(header) + "\n", "t.csv"));
  };
  CHECK(is_serving("id,e2e_ms_p99"));
  CHECK(is_serving("id,out_tok_s_per_gpu"));
  CHECK_FALSE(is_serving("id,model,gpu,engine,tp"));
}

TEST_CASE("a column that looks misspelt is named; others are the table's own business") {
  const auto warnings = [](const char* header) {
    return misspelt_columns(CsvTable::parse(std::string(header) + "\n", "t.csv"),
                            serving_columns());
  };
  CHECK(warnings("id,model,gpu,engine,concurency,output_tok_s") ==
        std::vector<std::string>{
            "t.csv:1: concurency: unknown column, not read; did you mean 'concurrency'?"});
  CHECK(warnings("id,model,gpu,engine,concurency,concurrency,output_tok_s").empty());
  CHECK(warnings("id,tpot_ms_p95,moe_tp,req_s,source,power_w").empty());
}
