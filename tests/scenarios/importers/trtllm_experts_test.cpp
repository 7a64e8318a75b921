#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "scenarios/importer.h"
#include "scenarios/routing_mrt.h"
#include "tests/scenarios/routing_support.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

const std::string kMeta = R"({"num_experts": 4, "num_experts_per_token": 2})";

std::string file_of(const std::string& header, const std::vector<std::int64_t>& values) {
  std::string out;
  append_le(out, std::uint64_t{header.size()});
  out += header;
  for (const std::int64_t value : values) append_le(out, value);
  return out;
}
std::string entry(const std::string& name, int first) {
  return "\"" + name + R"(": {"dtype": "I64", "shape": [4], "data_offsets": [)" +
         std::to_string(first * 32) + ", " + std::to_string((first + 1) * 32) + "]}";
}

std::string imported(const std::string& meta, const std::vector<std::string>& ranks) {
  const TempFolder folder;
  std::vector<std::filesystem::path> inputs = {folder.write("meta_info.json", meta)};
  for (std::size_t r = 0; r < ranks.size(); ++r)
    inputs.push_back(folder.write("rank" + std::to_string(r) + ".safetensors", ranks[r]));
  return make<Importer>("trtllm_experts")->convert(inputs).files[0].second;
}

TEST_CASE("statistics of ranks are added up, a step for every iteration") {
  const std::string first =
      file_of("{" + entry("9_3", 0) + ", " + entry("9_4", 1) + ", " + entry("10_3", 2) + ", " +
                  entry("10_4", 3) + R"(, "__metadata__": {"a": "b"}})",
              {2, 0, 1, 1, 1, 1, 1, 1, 4, 0, 4, 0, 2, 2, 2, 2});
  const std::string second =
      file_of("{" + entry("10_3", 0) + ", " + entry("10_4", 1) + "}", {0, 1, 0, 1, 0, 0, 1, 1});
  const std::string head =
      "# format=moe-routing-trace version=1 mode=step_load model=unknown n_layers=2 n_experts=4 "
      "top_k=2 ids=logical\n"
      "step,t_us,prefill_tokens,decode_tokens,layer,expert,count\n";
  // Iteration 9 comes before 10 though "10" sorts before "9".
  const std::string nine =
      "9,0,0,2,0,0,2\n9,0,0,2,0,2,1\n9,0,0,2,0,3,1\n"
      "9,0,0,2,1,0,1\n9,0,0,2,1,1,1\n9,0,0,2,1,2,1\n9,0,0,2,1,3,1\n";
  CHECK(imported(kMeta, {first, second}) ==
        head + nine +
            "10,0,0,5,0,0,4\n10,0,0,5,0,1,1\n10,0,0,5,0,2,4\n10,0,0,5,0,3,1\n"
            "10,0,0,5,1,0,2\n10,0,0,5,1,1,2\n10,0,0,5,1,2,3\n10,0,0,5,1,3,3\n");
}

TEST_CASE("statistics that do not fit together are refused, and say why") {
  const auto problem = [](const std::string& meta, const std::string& rank) {
    return first_mistake([&] { static_cast<void>(imported(meta, {rank})); }).problem;
  };
  const std::vector<std::int64_t> four = {1, 1, 1, 1};
  const std::string good = file_of("{" + entry("9_3", 0) + "}", four);
  CHECK(problem(kMeta, good).empty());
  CHECK(problem("[]", good) == "is missing or no count");
  CHECK(problem(R"({"num_experts": 4, "num_experts_per_token": 5})", good) ==
        "is missing or no count");
  CHECK(problem(R"({"num_experts": 8, "num_experts_per_token": 2})", good) ==
        "has 4 counts for 8 experts");
  CHECK(problem(kMeta, "") == "is no safetensors file");
  CHECK(problem(kMeta, file_of("{", four)) == "has a header that is no JSON object");
  CHECK(problem(kMeta, file_of("{}", {})) == "no counts");
  CHECK(problem(kMeta, file_of("{" + entry("nine", 0) + "}", four)) == "is no ITERATION_LAYER");
  CHECK(problem(kMeta, file_of("{" + entry("9_3", 1) + "}", four)) ==
        "lies outside the file, or is of another size than its shape");
  CHECK(problem(kMeta, file_of("{" + entry("9_3", 0) + "}", {1, -1, 1, 1})) == "has a count of -1");
  CHECK(problem(kMeta, file_of(R"({"9_3": {"dtype": "F32", "shape": [4]}})", four)) ==
        "is no tensor of whole numbers (I64, I32)");
  CHECK(problem(kMeta, file_of(R"({"9_3": 4})", four)) ==
        "is no tensor of whole numbers (I64, I32)");
  CHECK(problem(kMeta, file_of("{" + entry("9_3", 0) + ", " + entry("9_3", 0) + "}", four)) ==
        "stands in the header twice");
  // Each count fits 32 bits; the tokens they stand for do not.
  constexpr std::int64_t kMany = 4'000'000'000;
  CHECK(problem(kMeta, file_of("{" + entry("9_3", 0) + "}", {kMany, kMany, kMany, kMany})) ==
        "adds up to 2^32 tokens and more");
}

}  // namespace
}  // namespace moesim
