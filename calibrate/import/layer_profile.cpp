#include "calibrate/import/layer_profile.h"

#include <algorithm>
#include <cstdlib>

#include "sim/base/diagnostic.h"
#include "sim/base/reader.h"

namespace moesim {

namespace {

struct Card {
  const char* name;
  const char* system;
};
constexpr Card kCards[] = {{"RTXPRO6000", "rtx_pro_6000"}, {"RTX4090", "rtx_4090"}};

// Sizes that meta.yaml leaves out, from the models' config.json.
struct Dims {
  const char* model;
  double hidden, head_dim;
};
constexpr Dims kDims[] = {{"meta-llama/Llama-3.1-8B", 4096, 128},
                          {"Qwen/Qwen3-32B", 5120, 128},
                          {"Qwen/Qwen3-30B-A3B-Instruct-2507", 2048, 128}};

class Meta {
 public:
  explicit Meta(const std::filesystem::path& file) : document_(Document::load(file)) {}
  [[nodiscard]] std::string text(const std::string& key) {
    std::string value = document_.get(key).value_or("");
    std::erase(value, '"');
    std::erase(value, '\'');
    if (value.empty()) mistake(key, "is missing");
    return value;
  }
  [[nodiscard]] double number(const std::string& key) {
    const std::string value = text(key);
    const double found = std::atof(value.c_str());
    if (!value.empty() && found <= 0) mistake(key, "'" + value + "' is not a positive number");
    return found;
  }
  [[nodiscard]] bool has(const std::string& key) const { return document_.get(key).has_value(); }
  void mistake(const std::string& key, const std::string& problem) {
    diagnostics_.add({{document_.file_name(), 1, 1}, key, problem, "see calibrate/README.md"});
  }
  void throw_if_any() { diagnostics_.throw_if_any(); }

 private:
  Document document_;
  Diagnostics diagnostics_;
};

}  // namespace

LayerProfile layer_profile_of(const std::filesystem::path& table) {
  const std::filesystem::path folder = table.parent_path();
  Meta meta(folder.parent_path() / "meta.yaml");
  LayerProfile profile;
  const std::string degree = folder.filename().string();
  profile.tp = degree.starts_with("tp") ? std::atof(degree.c_str() + 2) : 0;
  if (profile.tp < 1) meta.mistake("", "the table's folder '" + degree + "' is not tp1, tp2, ...");
  const std::string card = meta.text("hardware");
  for (const Card& known : kCards) {
    if (card == known.name) profile.system = known.system;
  }
  if (profile.system.empty()) meta.mistake("hardware", "unknown card '" + card + "'");
  const std::string model = meta.text("model");
  for (const Dims& known : kDims) {
    if (model == known.model) {
      profile.hidden = known.hidden;
      profile.head_dim = known.head_dim;
    }
  }
  if (profile.hidden <= 0) meta.mistake("model", "unknown model '" + model + "'");
  // The overrides are what one rank of the last degree was given.
  profile.tp_first = meta.number("tp_degrees.0");
  double last = profile.tp_first;
  for (int i = 1; meta.has("tp_degrees." + std::to_string(i)); ++i)
    last = meta.number("tp_degrees." + std::to_string(i));
  const std::string rank = "engine_effective.hf_overrides.";
  profile.inter = last * meta.number(rank + "intermediate_size");
  profile.heads = last * meta.number(rank + "num_attention_heads");
  profile.kv_heads = last * meta.number(rank + "num_key_value_heads");
  profile.vocab = last * meta.number(rank + "vocab_size");
  profile.version = meta.text("vllm_version");
  if (meta.has("measurement_iterations")) profile.repeats = meta.number("measurement_iterations");
  meta.throw_if_any();
  return profile;
}

}  // namespace moesim
