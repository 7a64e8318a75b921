#include "sim/validation/serving_rows.h"

#include <doctest/doctest.h>
#include <string>

using namespace moesim;

namespace {

ServingRow row_of(const std::string& header, const std::string& cells) {
  const CsvTable table = CsvTable::parse(header + "\n" + cells + "\n", "t.csv");
  REQUIRE(is_serving_table(table));
  return read_serving_rows(table, "file").front();
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
  const ServingRow odd = row_of(header, "a,12.5,two,1,2,lots,-3");
  CHECK(odd.unclear == std::vector<std::string>{"tp 'two' is not a number",
                                                "request_rate_rps '-3' is not a number",
                                                "gpu_mem_util 'lots' is not a share"});
}
