#include "sim/validation/validate_e2e.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <string>
#include <vector>

#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

using namespace moesim;

namespace {

namespace fs = std::filesystem;

constexpr const char* kHeader =
    "id,gpu,model,is_moe,weight_dtype,engine,engine_version,tp,mem_fraction,max_model_len,max_num_"
    "seqs,max_batched_tokens,weights_per_gpu,weights_unit,kv_per_gpu,kv_unit,kv_tokens\n";

Validation validation_of(const std::string& lines) {
  Validation validation;
  compare_table(CsvTable::parse(kHeader + lines, "m.csv"), "m", 1, validation);
  return validation;
}

const ComparedValue* find(const Validation& validation, const std::string& metric) {
  const auto found = std::ranges::find(validation.rows, metric, &ComparedValue::metric);
  return found == validation.rows.end() ? nullptr : &*found;
}

const ErrorGroup& group(const Validation& validation, const char* name, const char* metric) {
  const auto found = std::ranges::find_if(
      validation.groups, [&](const ErrorGroup& g) { return g.name == name && g.metric == metric; });
  REQUIRE_MESSAGE(found != validation.groups.end(), name << " " << metric);
  return *found;
}

std::vector<std::string> reasons(const Validation& validation) {
  std::vector<std::string> result;
  for (const NotCompared& row : validation.unsupported)
    result.push_back(row.id + ": " + row.reason);
  return result;
}

}  // namespace

TEST_CASE("weights, KV tokens and the start of one server") {
  // Llama-2-7B: 6,738,415,616 weights of 2 bytes are 12.551 GiB; 32 x 32 heads x 128 x 2 x 2 bytes
  // make 0.5 MiB of KV a token.
  const Validation validation = validation_of(
      "a,H100-SXM-80GB,Llama-2-7B,0,fp16,vLLM,0.15.1,1,0.9,4096,128,2048,12.551,GiB,"
      "58,GiB,118784\n");
  REQUIRE(validation.unsupported.empty());
  REQUIRE(find(validation, "weights") != nullptr);
  CHECK(find(validation, "weights")->predicted == doctest::Approx(12.551).epsilon(1e-4));
  CHECK(find(validation, "weights")->source == "m");
  REQUIRE(find(validation, "kv_gib") != nullptr);
  REQUIRE(find(validation, "kv_tokens") != nullptr);
  CHECK(find(validation, "kv_tokens")->predicted ==
        doctest::Approx(find(validation, "kv_gib")->predicted * 2048));
  REQUIRE(find(validation, "fits") != nullptr);
  CHECK(find(validation, "fits")->error() == 0);
}

TEST_CASE("a start that failed is a check of what does not fit") {
  const Validation validation = validation_of(
      "one,H100-SXM-80GB,Mixtral-8x7B,1,bf16,vLLM,0.15.1,1,0.9,4096,128,2048,,,-21,GiB,\n"
      "two,H100-SXM-80GB,Mixtral-8x7B,1,bf16,vLLM,0.15.1,2,0.9,4096,128,2048,,,-21,GiB,\n");
  REQUIRE(validation.rows.size() == 2);
  CHECK(validation.rows[0].metric == "fits");
  CHECK(validation.rows[0].measured == 0);
  CHECK(validation.rows[0].predicted == 0);  // 87 GiB on one card
  CHECK(validation.rows[1].predicted == 1);  // an invented failure: half of it fits
  CHECK(validation.rows[1].error() == 1);
}

TEST_CASE("models with windows are compared by bytes") {
  const std::string row = "a,H100-SXM-80GB,gpt-oss-120b,1,mxfp4,vLLM,0.11.0,1,0.95,,16,1024,,,";
  const Validation bytes = validation_of(row + "8,GiB,200000\n");
  CHECK(find(bytes, "kv_gib") != nullptr);
  CHECK(find(bytes, "kv_tokens") == nullptr);
  CHECK(bytes.unsupported.empty());
  const Validation tokens = validation_of(row + ",,200000\n");
  CHECK(tokens.rows.empty());
  CHECK(reasons(tokens) ==
        std::vector<std::string>{
            "a: KV tokens of a model with sliding-window or hybrid layers are no storage rate"});
}

TEST_CASE("nothing is dropped in silence") {
  const Validation validation = validation_of(
      "a,H100-SXM-80GB,Llama-2-7B,0,fp16,LMDeploy,,1,,,,,12,GiB,,,\n"
      "b,not stated,Llama-2-7B,0,fp16,vLLM,,1,,,,,12.551,GiB,58,GiB,\n"
      "c,H100-SXM-80GB,Llama-2-7B,0,fp16,vLLM,,1,,,,,,,,,\n"
      "d,H100-SXM-80GB,Llama-2-7B,0,fp16,vLLM,,1,,,,,12,GB,,,\n");
  CHECK(reasons(validation) == std::vector<std::string>{"a: engine LMDeploy is not modelled",
                                                        "b: KV room: GPU not stated",
                                                        "c: neither weights nor KV room are logged",
                                                        "d: weights_per_gpu is in 'GB', not GiB"});
  REQUIRE(validation.rows.size() == 1);  // b's weights
  CHECK(validation.rows[0].id == "b");
  CHECK(validation.rows[0].assumed.empty());
}

TEST_CASE("tables that are neither are refused") {
  Validation validation;
  CHECK_THROWS_AS(compare_table(CsvTable::parse("a,b\n1,2\n", "t.csv"), "t", 1, validation),
                  InputError);
  CHECK_THROWS_AS(compare_table(CsvTable::parse("output_tok_s\n1\n", "t.csv"), "t", 1, validation),
                  InputError);
  CHECK_THROWS_AS(static_cast<void>(validate_e2e({"no/such/file.csv"})), InputError);
}

TEST_CASE("the mistakes of all tables are found before anything is simulated") {
  const fs::path folder = fs::temp_directory_path() / "moesim_validate_e2e";
  fs::remove_all(folder);
  write_file(folder / "a.csv", "id,model,output_tok_s\nx,Mixtral-8x7B,1\n");
  write_file(folder / "b.csv", "id,model,gpu,engine,output_tok_s\n");
  write_file(folder / "c.csv", "a,b\n1,2\n");
  try {
    (void)validate_e2e({folder});
    FAIL("accepted");
  } catch (const InputError& error) {
    std::vector<std::string> found;
    for (const Diagnostic& one : error.diagnostics())
      found.push_back(fs::path(one.where.file).filename().string() + ": " + one.key + one.problem);
    CHECK(found == std::vector<std::string>{
                       "a.csv: gpumissing column", "a.csv: enginemissing column",
                       "b.csv: no rows below the header",
                       "c.csv: neither a table of start-up memory nor of serving measurements"});
  }
  fs::remove_all(folder);
}

TEST_CASE("a row with a broken cell is listed with its place, the others are compared") {
  Validation validation;
  const std::string cells = ",Mixtral-8x7B,H100-SXM-80GB,vLLM,0.15.1,bf16,2,2,";
  compare_table(CsvTable::parse("id,model,gpu,engine,engine_version,weight_dtype,n_gpus,tp,isl,osl,"
                                "len_dist,load_mode,concurency,concurrency,output_tok_s\n"
                                "a" +
                                    cells +
                                    "-5,8,fixed,closed-loop,,2,x\n"
                                    "b" +
                                    cells + "64,8,fixed,closed-loop,,2,100\n",
                                "t.csv"),
                "t", 1, validation);
  REQUIRE(validation.rows.size() == 1);
  CHECK(validation.rows[0].id == "b");
  REQUIRE(reasons(validation).size() == 1);
  CHECK(reasons(validation)[0] ==
        "a: t.csv:2:51: isl: '-5' is not a number above 0; "
        "t.csv:2:77: output_tok_s: 'x' is not a number above 0");
  CHECK(validation.warnings.empty());  // the right name stands there, too
}

TEST_CASE("published start-ups: weights within 2 %, KV tokens within 5 %, by median") {
  const fs::path folder = fs::path(MOESIM_SHARED_DIR) / "data" / "memory";
  if (!fs::exists(folder)) {
    MESSAGE("skipped: no shared data");
    return;
  }
  const Validation validation = validate_e2e({folder});
  const ErrorGroup& weights = group(validation, "pooled", "weights");
  CHECK(weights.n >= 5);
  CHECK(weights.median_ape < 0.02);
  const ErrorGroup& tokens = group(validation, "pooled", "kv_tokens");
  CHECK(tokens.n >= 9);
  CHECK(tokens.median_ape < 0.05);
  CHECK(group(validation, "blis_vllm_kv_capacity", "kv_tokens").p90_ape < 0.01);
  CHECK(group(validation, "pooled", "fits").p90_ape == 0);
}
