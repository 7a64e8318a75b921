#include "sim/validation/memory_rows.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "sim/base/diagnostic.h"

using namespace moesim;

namespace {

constexpr const char* kHeader =
    "id,source_date,gpu,model,is_moe,weight_dtype,engine,engine_version,tp,attention_dp,mem_"
    "fraction,max_model_len,weights_per_gpu,weights_unit,kv_per_gpu,kv_unit,kv_tokens\n";

std::vector<MemoryRow> rows_of(const std::string& lines) {
  return read_memory_rows(CsvTable::parse(kHeader + lines, "m.csv"));
}

std::string first_mistake(const std::string& text) {
  try {
    static_cast<void>(read_memory_rows(CsvTable::parse(text, "m.csv")));
  } catch (const InputError& error) {
    const Diagnostic& first = error.diagnostics().front();
    CHECK_FALSE(first.hint.empty());
    return std::to_string(first.where.line) + ":" + std::to_string(first.where.column) + ": " +
           first.key + ": " + first.problem;
  }
  return "";
}

}  // namespace

TEST_CASE("numbers are read as people write them down") {
  const std::vector<MemoryRow> rows = rows_of(
      "a,2025-07,H100-SXM-80GB,M,1,bf16,vLLM,0.9,16 (implied),,\"0.9 (default, no flag)\",model "
      "default 40960,145 (approximate),GB as printed (GiB),-2.14,GiB,\n"
      "b,,not stated,M,0,not stated,vLLM,,2,1,,,,,8,GiB,1000\n");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].tp == 16);
  CHECK(rows[0].utilization == 0.9);
  CHECK(rows[0].max_model_len == 40960);
  CHECK(rows[0].weights_gib == 145.0);
  CHECK(rows[0].failed_to_start());
  CHECK_FALSE(rows[0].attention_dp);
  CHECK(rows[0].moe);
  CHECK(rows[1].gpu.empty());
  CHECK(rows[1].weight_dtype.empty());
  CHECK_FALSE(rows[1].utilization);
  CHECK_FALSE(rows[1].failed_to_start());
  CHECK(rows[1].kv_tokens == 1000.0);
}

TEST_CASE("a size that is not in GiB is set aside, with the reason") {
  const std::vector<MemoryRow> rows =
      rows_of("a,,G,M,1,,vLLM,,1,,,,100,\"GB, approximate\",8,GiB,\n");
  CHECK_FALSE(rows[0].weights_gib);
  CHECK(rows[0].kv_gib == 8.0);
  REQUIRE(rows[0].unclear.size() == 1);
  CHECK(rows[0].unclear[0] == "weights_per_gpu is in 'GB, approximate', not GiB");
}

TEST_CASE("mistakes in a memory table name their cell") {
  const std::string header = kHeader;
  struct Case {
    const char* why;
    std::string text;
    std::string expect;
  };
  const Case cases[] = {
      {"a column is missing", "id,gpu,model,is_moe,engine,kv_tokens\n", "1:1: tp: missing column"},
      {"words for a number", header + "a,,G,M,1,,vLLM,,two,,,,1,GiB,,,\n",
       "2:17: tp: 'two' is not a number"},
      {"half a rank", header + "a,,G,M,1,,vLLM,,1.5,,,,1,GiB,,,\n",
       "2:17: tp: 1.5 is not a whole number"},
      {"percent for a fraction", header + "a,,G,M,1,,vLLM,,1,,90,,1,GiB,,,\n",
       "2:20: mem_fraction: 90 is outside 0.01 to 1"},
      {"bytes for GiB", header + "a,,G,M,1,,vLLM,,1,,,,7e10,GiB,,,\n",
       "2:22: weights_per_gpu: 7e+10 is outside -10000 to 10000"},
      {"a number with more behind it", header + "a,,G,M,1,,vLLM,,1 / 2,,,,1,GiB,,,\n",
       "2:17: tp: '1 / 2' is not a number"},
      {"neither MoE nor dense", header + "a,,G,M,yes,,vLLM,,1,,,,1,GiB,,,\n",
       "2:8: is_moe: 'yes' is not 0 or 1"},
      {"no id", header + ",,G,M,1,,vLLM,,1,,,,1,GiB,,,\n", "2:1: id: a row without an id"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(first_mistake(c.text) == c.expect);
  }
}
