// Shipped models and models from files: names to ModelSpecs.

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/hf_config.h"
#include "sim/base/files.h"
#include "sim/base/utf8.h"

namespace moesim {

namespace {

namespace fs = std::filesystem;

constexpr const char* kSlash = "__";  // a file name cannot hold the '/' of an id

fs::path configs_dir() {
  // An installed tree has `models/configs` below the data folder, as the source tree has.
  return data_dir() / "models" / "configs";
}

std::string last_part(const std::string& id) {
  return id.substr(id.rfind('/') + 1);
}

std::string file_of(const std::string& id) {
  std::string name = id;
  const std::size_t slash = name.find('/');
  if (slash != std::string::npos) name.replace(slash, 1, kSlash);
  return name + ".json";
}

std::string id_of(const std::string& stem) {
  const std::size_t at = stem.find(kSlash);
  if (at == std::string::npos) return stem;
  return stem.substr(0, at) + '/' + stem.substr(at + 2);
}

ModelSpec load_file(const fs::path& path, const std::string& id) {
  return read_hf_config(read_file(path), path.string(), id);
}

}  // namespace

std::vector<std::string> shipped_models() {
  std::vector<std::string> ids;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(configs_dir(), error)) {
    if (entry.path().extension() == ".json") ids.push_back(id_of(entry.path().stem().string()));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

ModelSpec load_model(const std::string& name, const fs::path& relative_to, const Where& where) {
  const std::vector<std::string> shipped = shipped_models();
  const std::string wanted = lower_case(name);
  for (const std::string& id : shipped) {
    if (lower_case(id) == wanted || lower_case(last_part(id)) == wanted)
      return load_file(configs_dir() / file_of(id), id);
  }
  std::error_code error;
  const fs::path path = relative_to / name;
  if (fs::is_directory(path, error)) {
    if (fs::is_regular_file(path / "config.json", error))
      return load_file(path / "config.json", name);
    throw InputError({{.where = where,
                       .key = "",
                       .problem = fmt::format("the folder '{}' has no config.json", name),
                       .hint = "name a folder with the model's config.json, or the file itself"}});
  }
  if (fs::is_regular_file(path, error)) return load_file(path, "");
  std::vector<std::string> known = shipped;
  if (name.find('/') == std::string::npos) {
    std::transform(known.begin(), known.end(), known.begin(), last_part);
  }
  throw InputError(
      {{.where = where,
        .key = "",
        .problem = fmt::format("unknown model '{}'", name),
        .hint = nearest_name_hint(name, known) + "; or give the path of a config.json"}});
}

}  // namespace moesim
