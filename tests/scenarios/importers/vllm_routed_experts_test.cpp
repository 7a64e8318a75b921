#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "scenarios/importer.h"
#include "scenarios/routing_trace.h"
#include "tests/scenarios/routing_support.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

/// Three layers of which the first is dense; four experts, top-2.
const std::string kConfig = R"({"architectures": ["DeepseekV2ForCausalLM"],
  "model_type": "deepseek_v2", "num_hidden_layers": 3, "hidden_size": 2048,
  "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 102400,
  "max_position_embeddings": 163840, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
  "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 4,
  "num_experts_per_tok": 2, "n_shared_experts": 2, "first_k_dense_replace": 1, "moe_layer_freq": 1,
  "n_group": 1, "topk_group": 1, "q_lora_rank": null, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
  "qk_rope_head_dim": 64, "v_head_dim": 128, "scoring_func": "softmax", "topk_method": "greedy",
  "norm_topk_prob": false, "moesim": {"id": "test/tiny"}})";

/// numpy.savez_compressed of prompt_routed_experts, int16 [[[0,0],[1,2],[3,0]],
/// [[0,0],[2,1],[0,3]]] and routed_experts, int32 [[[0,0],[3,1],[1,2]], zeros]: layer 0 is dense,
/// the last token did not run.
const std::string kNpz =
    "504b030414000000080000002100381457b959000000980000001900000070726f6d70745f726f757465645f"
    "657870657274732e6e70799bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9369a4aea3a09e965f5452"
    "9498179f5f94920a12774bcc294e058a17672416a402f91a463a0ac63a0a469a3a0ab50ae4012e0620606460"
    "626066800026208f01c80300504b03041400000008000000210080e844bd54000000b000000012000000726f"
    "757465645f657870657274732e6e70799bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9369a2aea3a0"
    "9e965f54529498179f5f94920a12774bcc294e058a17672416a402f91a463a0ac63a0a469a3a0ab50ae4012e"
    "062860066246286662c00d00504b0102140314000000080000002100381457b9590000009800000019000000"
    "000000000000000080010000000070726f6d70745f726f757465645f657870657274732e6e7079504b010214"
    "031400000008000000210080e844bd54000000b0000000120000000000000000000000800190000000726f75"
    "7465645f657870657274732e6e7079504b0506000000000200020087000000140100000000";

std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

Importer::Result convert(const std::string& content, const std::string& name = "a.jsonl") {
  const TempFolder folder;
  return make<Importer>("vllm_routed_experts")
      ->convert({folder.write("config.json", kConfig), folder.write(name, content)});
}
RoutingTable table_of(const Importer::Result& result) {
  return std::get<RoutingTable>(parse_routing_trace(result.files[0].second, "out.mrt"));
}
std::vector<int> ids_of(const RoutingTable& table) {
  std::vector<int> ids;
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    for (int i = 0; i < 4; ++i) ids.push_back(table.expert(row, i / 2, i % 2));
  }
  return ids;
}

TEST_CASE("arrays of a request become prompt and decode rows of the model's MoE layers") {
  const Importer::Result result = convert(bytes_of_hex(kNpz), "a.npz");
  const RoutingTable table = table_of(result);
  CHECK(table.shape() == RoutingShape{.layers = 2, .experts = 4, .top_k = 2});
  CHECK(table.layer_ids == std::vector<int>{1, 2});
  CHECK(table.model == "test/tiny");
  CHECK(table.shared_experts == 2);
  CHECK(table.sequences.size() == 1);
  CHECK(table.sequences[0].prompt_rows == 2);
  CHECK(ids_of(table) == std::vector<int>{1, 2, 3, 0, 2, 1, 0, 3, 3, 1, 1, 2});
  CHECK(result.notes[1] == "1 dense layers left out, by the model's list");
  CHECK(result.notes[2] == "1 last tokens that were never run left out");
}

TEST_CASE("responses as JSON lines: bare, with choices, and base64 of 32-bit numbers") {
  // Without the dense layer; a tag of ours; SGLang's meta_info with [2, 3, 2] numbers.
  const RoutingTable table = table_of(convert(
      R"({"prompt_routed_experts":[[[1,2],[3,0]]],"routed_experts":[[[0,1],[2,3]]],"domain":"law"})"
      "\n"
      R"({"prompt_routed_experts":null,"choices":[{"routed_experts":[[[0,2],[1,3]]]}]})"
      "\n"
      R"({"meta_info":{"routed_experts":"AAAAAAAAAAABAAAAAgAAAAMAAAAAAAAAAAAAAAAAAAACAAAAAQAAAAAAAAADAAAA"}})"
      "\n"));
  CHECK(table.sequences.size() == 3);
  CHECK(table.sequences[0].prompt_rows == 1);
  CHECK(table.domains[table.sequences[0].domain].name == "law");
  CHECK(ids_of(table) ==
        std::vector<int>{1, 2, 3, 0, 0, 1, 2, 3, 0, 2, 1, 3, 1, 2, 3, 0, 2, 1, 0, 3});
}

TEST_CASE("routed experts that are refused") {
  const auto problem = [](const std::string& content, const std::string& name = "a.jsonl") {
    return first_mistake([&] { static_cast<void>(convert(content, name)); }).problem;
  };
  CHECK(problem("{}\n") == "no routed tokens");
  CHECK(problem("[]\n") == "is not a JSON object");
  CHECK(problem(R"({"routed_experts":[[[0,1]]]})") ==
        "routed experts are 1 x 1 x 2, not tokens x 3 x 2");
  CHECK(problem(R"({"routed_experts":[[[0,1],[2,4]]]})") ==
        "token 0, layer 2: ids are not 2 distinct experts of 4");
  CHECK(problem(R"({"routed_experts":[[[0,1],[2]]]})") == "is no list of tokens of layers of ids");
  CHECK(problem(R"({"routed_experts":"!!"})") == "is no base64");
  CHECK(problem("\x93NUMPY\x01\x00\xff\xff") != "");
  const std::string npz = bytes_of_hex(kNpz);
  CHECK(problem(npz.substr(0, 200), "a.npz") == "is no zip archive");
  // Any damage to the archive is seen.
  for (std::size_t at = 0; at < npz.size(); ++at) {
    std::string damaged = npz;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    try {
      static_cast<void>(convert(damaged, "a.npz"));
    } catch (const InputError& error) {
      CHECK_FALSE(error.diagnostics().empty());
    }
  }
}

}  // namespace
}  // namespace moesim
