#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace moesim {

/// Foreign file(s) to one of our formats. Registered: azure_llm, mooncake, hf_config.
class Importer {
 public:
  virtual ~Importer() = default;
  /// Output files as (suffix, content): suffix "" is the file named by -o; others go beside it
  /// ("x.blocks.jsonl" for ".blocks.jsonl"). Throws InputError with file and line; `notes` tells
  /// what was dropped or assumed.
  struct Result {
    std::vector<std::pair<std::string, std::string>> files;
    std::vector<std::string> notes;
  };
  [[nodiscard]] virtual Result convert(const std::vector<std::filesystem::path>& inputs) const = 0;
};

}  // namespace moesim
