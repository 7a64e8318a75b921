#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "scenarios/load.h"
#include "scenarios/workload.h"
#include "sim/base/diagnostic.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {

/// A small valid scenario, one key a line; the tables of bad input replace one of its lines:
///    1 schema_version   2 name        3 model        4 precision      5 system    6 nodes   7 -
///    the node 8 engine           9 max_num_seqs              10 deployment    11 instances 12 -
///    the entry
///   13 workload        14 arrival    15 synthetic   16 num_prompts   17 input   18 output  19 seed
[[nodiscard]] std::string small_scenario();
/// `small_scenario` with line `line` (1-based) replaced by `text`, which may be several lines or
/// "".
[[nodiscard]] std::string with_line(int line, const std::string& text);

[[nodiscard]] Scenario load_text(const std::string& text,
                                 const std::vector<Override>& overrides = {});

/// What loading reports; empty if it succeeds.
[[nodiscard]] std::vector<Diagnostic> mistakes_of(const std::string& text,
                                                  const std::vector<Override>& overrides = {});

/// A mistake we expect: its line, its key, and a part of its problem and of its hint.
struct Expected {
  int line;
  const char* key;
  const char* problem;
  const char* hint;
};
/// Empty if `found` are exactly the `expected` mistakes, in any order, each with a hint; else what
/// differs.
[[nodiscard]] std::string compare(const std::vector<Diagnostic>& found,
                                  const std::vector<Expected>& expected);

/// The workload of a `workload:` section in YAML.
[[nodiscard]] Workload workload_of(const std::string& yaml, std::uint64_t seed = 1);

/// A file in a fresh folder that is removed at the end.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  /// Writes a file and returns its path.
  std::filesystem::path write(const std::string& name, const std::string& content) const;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// An implementation by name, made without parameters.
template <class I>
std::unique_ptr<I> make(const std::string& name) {
  const Document empty = Document::parse("{}", "test");
  Diagnostics diagnostics;
  Reader params(empty, diagnostics);
  return Registry<I>::find(name)->make(params);
}

}  // namespace moesim
