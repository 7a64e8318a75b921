#include <bit>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "scenarios/importer.h"
#include "scenarios/routing_mrt.h"
#include "tests/scenarios/routing_support.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

void append_text(std::string& out, const std::string& text) {
  append_le(out, std::uint64_t{text.size()});
  out += text;
}

struct Tensor {
  std::string name;
  std::vector<float> values;
  std::uint32_t type = 0;
};

/// An imatrix as llama-imatrix writes it: a kind, the data sets it was made from, tensors.
std::string gguf(const std::vector<Tensor>& tensors) {
  std::string out = "GGUF", data;
  append_le(out, std::uint32_t{3});
  append_le(out, std::uint64_t{tensors.size()});
  append_le(out, std::uint64_t{3});
  append_text(out, "general.type");
  append_le(out, std::uint32_t{8});
  append_text(out, "imatrix");
  append_text(out, "imatrix.datasets");
  append_le(out, std::uint32_t{9});
  append_le(out, std::uint32_t{8});
  append_le(out, std::uint64_t{1});
  append_text(out, "calibration.txt");
  append_text(out, "imatrix.chunk_count");
  append_le(out, std::uint32_t{4});
  append_le(out, std::uint32_t{7});
  for (const Tensor& tensor : tensors) {
    append_text(out, tensor.name);
    append_le(out, std::uint32_t{2});
    append_le(out, std::uint64_t{1});
    append_le(out, std::uint64_t{tensor.values.size()});
    append_le(out, tensor.type);
    append_le(out, std::uint64_t{data.size()});
    for (const float value : tensor.values) append_le(data, std::bit_cast<std::uint32_t>(value));
    data.resize((data.size() + 31) / 32 * 32);
  }
  out.resize((out.size() + 31) / 32 * 32);
  return out + data;
}

const std::vector<Tensor> kTwoLayers = {
    {"blk.1.attn_q.weight.counts", {9}},
    {"blk.1.ffn_down_exps.weight.counts", {3, 0, 5}},
    {"blk.1.ffn_down_exps.weight.in_sum2", {0.5F, 0.25F}},
    {"blk.12.ffn_down_exps.weight.counts", {1, 7, 0}},
};

Importer::Result imported(const std::string& bytes) {
  const TempFolder folder;
  return make<Importer>("llama_imatrix")->convert({folder.write("imatrix.gguf", bytes)});
}

TEST_CASE("an imatrix tells how many tokens each expert multiplied") {
  CHECK(imported(gguf(kTwoLayers)).files[0].second ==
        "# format=moe-routing-trace version=1 mode=step_load model=unknown n_layers=2 n_experts=3 "
        "top_k=1 ids=logical sum=free\n"
        "step,t_us,prefill_tokens,decode_tokens,layer,expert,count\n"
        "0,0,0,8,0,0,3\n0,0,0,8,0,2,5\n0,0,0,8,1,0,1\n0,0,0,8,1,1,7\n");
}

TEST_CASE("files that are no imatrix with counts of experts are refused, and say why") {
  const auto problem = [](const std::string& bytes) {
    return first_mistake([&] { static_cast<void>(imported(bytes)); }).problem;
  };
  const std::string good = gguf(kTwoLayers);
  CHECK(problem("GGUX") == "is no GGUF file");
  CHECK(problem(std::string("GGUF\x01\0\0\0", 8)) == "is GGUF version 1");
  CHECK(problem(gguf({{"blk.1.attn_q.weight.counts", {9}}})) == "no counts");
  CHECK(problem(gguf({{"ffn_down_exps.weight.counts", {9}}})) == "no counts");
  CHECK(problem(gguf({{"enc.1.ffn_down_exps.weight.counts", {9}}})) == "names no layer");
  CHECK(problem(gguf({{"blk.x.ffn_down_exps.weight.counts", {9}}})) == "names no layer");
  CHECK(problem(gguf({{"blk.1.ffn_down_exps.weight.counts", {9}, 1}})) ==
        "blk.1.ffn_down_exps.weight.counts is of type 1, not of 32-bit floats");
  CHECK(problem(gguf({{"blk.1.ffn_down_exps.weight.counts", {-1}}})) == "has a count of -1");
  CHECK(problem(gguf({{"blk.1.ffn_down_exps.weight.counts", {0.5F}}})) == "has a count of 0.5");
  const Tensor one = {"blk.1.ffn_down_exps.weight.counts", {9, 1}};
  CHECK(problem(gguf({one, one})) == "has the tensor blk.1.ffn_down_exps.weight.counts twice");
  CHECK(problem(gguf({one, {"blk.2.ffn_down_exps.weight.counts", {9}}})) ==
        "has 1 experts, another layer 2");
  // Cut anywhere, it is refused or, once only padding is gone, read.
  for (std::size_t size = 0; size < good.size() - 32; ++size) {
    CAPTURE(size);
    CHECK_FALSE(problem(good.substr(0, size)).empty());
  }
}

}  // namespace
}  // namespace moesim
