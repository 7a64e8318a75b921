#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "models/family.h"
#include "models/hf_config.h"
#include "models/model.h"
#include "models/placement.h"
#include "sim/base/registry.h"

using namespace moesim;

namespace {

ModelSpec shipped(const std::string& id) {
  return load_model(id, ".", {});
}

bool within_half_percent(double value, double expect) {
  return std::abs(value / expect - 1) < 0.005;
}

/// Glossary 5.2: total and active parameters in 10^9, per expert in 10^6, KV bytes per token.
struct Golden {
  const char* id;
  double total, active, per_expert;
  std::int64_t kv_bytes;
};

constexpr Golden kGolden[] = {
    {"mistralai/Mixtral-8x7B-v0.1", 46.70, 12.88, 176.16, 131072},
    {"mistralai/Mixtral-8x22B-v0.1", 140.62, 39.15, 301.99, 229376},
    {"Qwen/Qwen1.5-MoE-A2.7B", 14.32, 2.69, 8.65, 196608},
    {"Qwen/Qwen2-57B-A14B", 57.41, 14.25, 27.53, 57344},
    {"Qwen/Qwen3-30B-A3B", 30.53, 3.35, 4.72, 98304},
    {"Qwen/Qwen3-235B-A22B", 235.09, 22.19, 18.87, 192512},
    {"Qwen/Qwen3-Coder-480B-A35B-Instruct", 480.15, 35.47, 47.19, 253952},
    {"deepseek-ai/DeepSeek-V2", 235.74, 21.38, 23.59, 69120},
    {"deepseek-ai/DeepSeek-V2-Lite", 15.71, 2.66, 8.65, 31104},
    {"deepseek-ai/DeepSeek-V3", 671.03, 37.55, 44.04, 70272},
    {"moonshotai/Kimi-K2-Instruct", 1026.41, 32.86, 44.04, 70272},
    {"moonshotai/Kimi-K2.5", 1026.41, 32.86, 44.04, 70272},
    // 60 x 512 experts of 3 x 4096 x 1024; 15 layers attend, with 2 x 256 keys and values.
    {"Qwen/Qwen3.5-397B-A17B", 396.35, 17.35, 12.58, 30720},
    {"zai-org/GLM-4.5-Air", 106.85, 13.42, 17.30, 188416},
    {"zai-org/GLM-4.5", 352.80, 33.63, 23.59, 376832},
    {"zai-org/GLM-5", 743.18, 41.05, 37.75, 89856},
    {"openai/gpt-oss-120b", 116.79, 5.71, 24.88, 73728},
    {"openai/gpt-oss-20b", 20.91, 4.19, 24.88, 49152},
    {"meta-llama/Llama-4-Scout-17B-16E", 107.77, 17.17, 125.83, 196608},
    {"meta-llama/Llama-4-Maverick-17B-128E", 400.71, 17.18, 125.83, 196608},
    {"allenai/OLMoE-1B-7B-0924", 6.92, 1.28, 6.29, 131072},
    {"MiniMaxAI/MiniMax-M2.5", 228.69, 11.03, 14.16, 253952},
    {"xai-org/grok-1", 315.68, 83.76, 603.98, 262144},
    {"databricks/dbrx-base", 131.60, 36.47, 198.18, 163840},
    {"microsoft/Phi-3.5-MoE-instruct", 41.87, 6.64, 78.64, 131072},
    {"ibm-granite/granite-3.1-3b-a800m-base", 3.30, 0.88, 2.36, 65536},
    {"ibm-granite/granite-3.1-1b-a400m-base", 1.33, 0.43, 1.57, 49152},
    {"tencent/Hunyuan-A13B-Instruct", 80.39, 12.75, 37.75, 131072},
    {"baidu/ERNIE-4.5-21B-A3B-PT", 21.83, 3.35, 11.80, 57344},
    {"baidu/ERNIE-4.5-300B-A47B-PT", 298.64, 47.08, 88.08, 221184},
};

/// Glossary 5.1, dense controls.
struct Dense {
  const char* id;
  double total;
  std::int64_t kv_bytes;
};

constexpr Dense kDense[] = {
    {"meta-llama/Llama-2-7b-hf", 6.74, 524288},
    {"meta-llama/Llama-2-13b-hf", 13.02, 819200},
    {"meta-llama/Llama-2-70b-hf", 68.98, 327680},
    {"meta-llama/Llama-3.1-8B", 8.03, 131072},
    {"meta-llama/Llama-3.1-70B", 70.55, 327680},
    {"meta-llama/Llama-3.3-70B-Instruct", 70.55, 327680},
    {"meta-llama/Llama-3.1-405B", 405.85, 516096},
    {"Qwen/Qwen2.5-7B", 7.62, 57344},
    {"Qwen/Qwen3-14B", 14.77, 163840},
    {"Qwen/Qwen3-32B", 32.76, 262144},
    {"mistralai/Mistral-Nemo-Base-2407", 12.25, 163840},
    {"codellama/CodeLlama-34b-hf", 33.74, 196608},
    {"01-ai/Yi-34B", 34.39, 245760},
};

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// First cells of the rows of the README's tables, without backquotes.
std::vector<std::string> readme_rows() {
  std::istringstream lines(text_of(std::filesystem::path(MOESIM_ROOT) / "models" / "README.md"));
  std::vector<std::string> cells;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("| `", 0) != 0) continue;
    const std::size_t end = line.find('`', 3);
    cells.push_back(line.substr(3, end - 3));
  }
  return cells;
}

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

TEST_CASE("shipped MoE models have the published counts") {
  for (const Golden& golden : kGolden) {
    CAPTURE(std::string(golden.id));
    const ModelSpec model = shipped(golden.id);
    const ParameterCounts counts = count_parameters(model);
    CHECK(model.id == golden.id);
    CHECK(within_half_percent(static_cast<double>(counts.total()) / 1e9, golden.total));
    CHECK(within_half_percent(static_cast<double>(counts.active) / 1e9, golden.active));
    CHECK(within_half_percent(static_cast<double>(counts.per_expert) / 1e6, golden.per_expert));
    CHECK(kv_bytes_per_token(model).value() == golden.kv_bytes);
  }
}

TEST_CASE("shipped dense controls have the published counts, all of them active") {
  for (const Dense& dense : kDense) {
    CAPTURE(std::string(dense.id));
    const ModelSpec model = shipped(dense.id);
    const ParameterCounts counts = count_parameters(model);
    CHECK_FALSE(model.is_moe());
    CHECK(within_half_percent(static_cast<double>(counts.total()) / 1e9, dense.total));
    CHECK(counts.active == counts.total());
    CHECK(kv_bytes_per_token(model).value() == dense.kv_bytes);
  }
}

TEST_CASE("models outside the golden table match their published sizes") {
  struct Case {
    const char* id;
    double total, tolerance;
  };
  const Case cases[] = {
      {"Qwen/Qwen3-Next-80B-A3B-Instruct", 79.7, 0.005},  // "80B"
      {"ai21labs/AI21-Jamba-1.5-Mini", 51.6, 0.005},      // "52B"
      {"ai21labs/AI21-Jamba-1.5-Large", 398.6, 0.005},    // "398B"
      {"google/switch-base-8", 0.619, 0.005},             // 619 M
      {"gpt4-rumour", 1800, 0.03},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.id));
    const double total = static_cast<double>(count_parameters(shipped(c.id)).total()) / 1e9;
    CHECK(std::abs(total / c.total - 1) < c.tolerance);
  }
}

TEST_CASE("the GPT-4 rumour is marked as one, and activates 220 to 280 billion parameters") {
  const ModelSpec model = shipped("gpt4-rumour");
  CHECK(model.hypothetical);
  const double active = static_cast<double>(count_parameters(model).active) / 1e9;
  CHECK(active > 220);
  CHECK(active < 280);
  CHECK_FALSE(shipped("Mixtral-8x7B-v0.1").hypothetical);
}

TEST_CASE("a file name and the id inside agree for every shipped model") {
  const std::vector<std::string> ids = shipped_models();
  CHECK(ids.size() >= 49);
  CHECK(std::is_sorted(ids.begin(), ids.end()));
  for (const std::string& id : ids) {
    CAPTURE(id);
    std::string file = id;
    if (const std::size_t slash = file.find('/'); slash != std::string::npos)
      file.replace(slash, 1, "__");
    const std::filesystem::path path =
        std::filesystem::path(MOESIM_ROOT) / "models" / "configs" / (file + ".json");
    const std::string text = text_of(path);
    CHECK(read_hf_config(text, path.string(), "").id == id);
    CHECK(text.find("\"source\": \"") != std::string::npos);
  }
}

TEST_CASE("the README lists every shipped model, family and placement, and nothing else") {
  const std::vector<std::string> rows = readme_rows();
  std::vector<std::string> known = shipped_models();
  for (const std::string& family : Registry<Family>::names()) known.push_back(family);
  for (const std::string& name : Registry<Placement>::names()) known.push_back(name);
  for (const std::string& name : known)
    CHECK_MESSAGE(contains(rows, name), name, " is missing from models/README.md");
  for (const std::string& row : rows)
    CHECK_MESSAGE(contains(known, row), row, " is in models/README.md only");
}

TEST_CASE("every registered family has a test file") {
  for (const std::string& family : Registry<Family>::names()) {
    CAPTURE(family);
    CHECK(std::filesystem::exists(std::filesystem::path(MOESIM_TEST_DIR) / "models" / "families" /
                                  (family + "_test.cpp")));
  }
}
