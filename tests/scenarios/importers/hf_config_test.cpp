#include "models/hf_config.h"

#include <doctest/doctest.h>

#include "scenarios/importer.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

const char* const kSample =
    "{\"architectures\": [\"MixtralForCausalLM\"], \"model_type\": \"mixtral\", \"hidden_size\": "
    "4096,\n"
    " \"intermediate_size\": 14336, \"num_hidden_layers\": 32, \"num_attention_heads\": 32,\n"
    " \"num_key_value_heads\": 8, \"num_local_experts\": 8, \"num_experts_per_tok\": 2, "
    "\"vocab_size\": 32000,\n"
    " \"max_position_embeddings\": 32768, \"torch_dtype\": \"bfloat16\", \"tie_word_embeddings\": "
    "false}\n";

TEST_CASE("a config.json or its folder becomes a short config that reads as the same model") {
  const TempFolder folder;
  const auto file = folder.write("my-mixtral/config.json", kSample);
  const auto importer = make<Importer>("hf_config");
  const Importer::Result result = importer->convert({file});
  CHECK(result.files.size() == 1);
  CHECK(result.files == importer->convert({file.parent_path()}).files);
  const ModelSpec model = read_hf_config(result.files[0].second, "short.json", "x");
  CHECK(count_parameters(model).total() ==
        count_parameters(read_hf_config(kSample, "config.json", "x")).total());
  CHECK(result.notes.at(0).find("my-mixtral") != std::string::npos);
}

TEST_CASE("a config that is not one is refused") {
  const TempFolder folder;
  CHECK_THROWS_AS(
      static_cast<void>(make<Importer>("hf_config")->convert({folder.write("config.json", "{}")})),
      InputError);
  CHECK_THROWS_AS(static_cast<void>(make<Importer>("hf_config")->convert({})), InputError);
}

}  // namespace
}  // namespace moesim
