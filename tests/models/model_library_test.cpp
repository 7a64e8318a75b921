#include <chrono>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <string>

#include "models/hf_config.h"
#include "models/sharding.h"
#include "sim/base/files.h"

using namespace moesim;

namespace {

/// A folder below the system's temporary one, removed at the end.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / name) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string shipped_text(const std::string& file) {
  return read_file(std::filesystem::path(MOESIM_ROOT) / "models" / "configs" / file);
}

}  // namespace

TEST_CASE("a shipped model is found by its id or the last part of it, in any case") {
  for (const char* name :
       {"openai/gpt-oss-120b", "gpt-oss-120b", "GPT-OSS-120B", "OpenAI/GPT-OSS-120b"}) {
    CHECK(load_model(name, ".", {}).id == "openai/gpt-oss-120b");
  }
}

TEST_CASE("an unknown model is reported at the place of its name, with the nearest one") {
  try {
    static_cast<void>(
        load_model("Mixtral-8x7B-v0.2", ".", {.file = "scenario.yaml", .line = 4, .column = 8}));
    FAIL("no error");
  } catch (const InputError& error) {
    REQUIRE(error.diagnostics().size() == 1);
    const Diagnostic& found = error.diagnostics()[0];
    CHECK(found.where.file == "scenario.yaml");
    CHECK(found.where.line == 4);
    CHECK(found.problem == "unknown model 'Mixtral-8x7B-v0.2'");
    CHECK(found.hint.find("Mixtral-8x7B-v0.1") != std::string::npos);
  }
}

TEST_CASE("a model is read from a file or a folder relative to the scenario") {
  const TemporaryFolder folder("moesim_model_library_test");
  std::filesystem::create_directories(folder.path() / "mine");
  write_file(folder.path() / "mine" / "config.json",
             shipped_text("mistralai__Mixtral-8x7B-v0.1.json"));
  CHECK(load_model("mine", folder.path(), {}).hidden == 4096);
  CHECK(load_model("mine/config.json", folder.path(), {}).hidden == 4096);
  std::filesystem::create_directories(folder.path() / "empty");
  CHECK_THROWS_AS(static_cast<void>(load_model("empty", folder.path(), {})), InputError);
}

TEST_CASE("hf_quant_config.json beside a config gives its formats") {
  const TemporaryFolder folder("moesim_quant_config_test");
  write_file(folder.path() / "config.json", shipped_text("Qwen__Qwen3-30B-A3B.json"));
  write_file(
      folder.path() / "hf_quant_config.json",
      R"({"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}})");
  const ModelSpec model = load_model("config.json", folder.path(), {});
  CHECK(model.precisions.experts == NumberFormat::kNvfp4);
  CHECK(model.precisions.attention == NumberFormat::kNvfp4);
  CHECK(model.precisions.kv_cache == NumberFormat::kFp8);
  CHECK(model.precisions.lm_head == NumberFormat::kBf16);
}

TEST_CASE("a model's minimal config is the same model") {
  for (const std::string& id : shipped_models()) {
    CAPTURE(id);
    const ModelSpec model = load_model(id, ".", {});
    std::string file = id;
    if (const std::size_t slash = file.find('/'); slash != std::string::npos)
      file.replace(slash, 1, "__");
    const std::string minimal = minimal_config(shipped_text(file + ".json"), "config.json", id);
    const ModelSpec again = read_hf_config(minimal, "minimal.json", "");
    CHECK(again.id == id);
    CHECK(again.layers == model.layers);
    CHECK(again.family == model.family);
    CHECK(count_parameters(again).total() == count_parameters(model).total());
    CHECK(kv_bytes_per_token(again) == kv_bytes_per_token(model));
    CHECK(again.precisions.experts == model.precisions.experts);
    CHECK(again.precisions.attention == model.precisions.attention);
    CHECK(again.router.groups == model.router.groups);
    CHECK(again.hypothetical == model.hypothetical);
    CHECK(weight_bytes(make_shard(again, {}, 0).shard).total() ==
          weight_bytes(make_shard(model, {}, 0).shard).total());
  }
}
