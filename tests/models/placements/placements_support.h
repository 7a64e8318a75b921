#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <unistd.h>
#include <vector>

#include "models/placement.h"
#include "sim/base/files.h"

namespace moesim {

/// A file of the system's folder for temporary files with this text; its path. It goes with the
/// process.
inline std::string write_temporary(const std::string& text, const std::string& name = "map.json") {
  static struct Written {
    std::set<std::filesystem::path> paths;
    ~Written() {
      std::error_code ignored;
      for (const auto& path : paths) std::filesystem::remove(path, ignored);
    }
  } written;
  const auto path = std::filesystem::temp_directory_path() /
                    ("moesim_placement_" + std::to_string(::getpid()) + "_" + name);
  write_file(path, text);
  written.paths.insert(path);
  return path.string();
}

/// [layer][slot] of the linear placement.
inline std::vector<std::vector<int>> linear_rows(const PlacementInput& input) {
  std::vector<std::vector<int>> rows(static_cast<std::size_t>(input.layers));
  for (auto& row : rows) {
    for (int s = 0; s < input.experts + input.redundant; ++s) row.push_back(s % input.experts);
  }
  return rows;
}

/// Writes such rows as JSON; the file's path.
inline std::string write_map(const std::vector<std::vector<int>>& rows) {
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (const int expert : row) line += (line.empty() ? "" : ",") + std::to_string(expert);
    text += (text.empty() ? "[" : ",\n") + ("[" + line + "]");
  }
  return write_temporary(text + "]\n");
}

/// Slots of one layer.
inline std::vector<int> slots_of(const std::string& name, const PlacementInput& input,
                                 int layer = 0) {
  PlacementSpec spec;
  spec.name = name;
  const ExpertPlacement placement = make_placement(spec)->place(input);
  const auto row = placement.layer(layer);
  return {row.begin(), row.end()};
}

}  // namespace moesim
