#include "models/hf_config.h"

#include <memory>

#include "scenarios/importer.h"
#include "scenarios/trace_text.h"
#include "sim/base/files.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// A Hugging Face config.json (or its folder) to the short form of models/configs: only the keys we
/// read.
class HfConfig final : public Importer {
 public:
  Result convert(const std::vector<std::filesystem::path>& inputs) const override {
    if (inputs.size() != 1) {
      refuse_file("hf_config", "", "this importer reads one file",
                  "give one config.json or its folder");
    }
    std::error_code error;
    const bool folder = std::filesystem::is_directory(inputs[0], error);
    const std::filesystem::path file = folder ? inputs[0] / "config.json" : inputs[0];
    const std::filesystem::path named = std::filesystem::absolute(file).parent_path().filename();
    Result result;
    result.files.emplace_back("", minimal_config(read_file(file), file.string(), named.string()));
    result.notes.push_back("the id is the name of the folder, '" + named.string() +
                           "': correct it if that is not the model's");
    return result;
  }
};

const Register<Importer> kHfConfig{"hf_config",
                                   "Hugging Face config.json to the short form of models/configs",
                                   [](Reader&) { return std::make_unique<HfConfig>(); }};

}  // namespace
}  // namespace moesim
