#pragma once

#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/base/diagnostic.h"
#include "sim/base/reader.h"

namespace moesim {

/// Names a key may have, in order of preference; "a.b" is key b of mapping a.
using KeyNames = std::initializer_list<const char*>;

/// Reads a merged Hugging Face config by tables of accepted keys. A key whose value is null counts
/// as absent. Mistakes are collected; a getter that found one returns a harmless value, so that one
/// pass finds all. Private to models: not part of the interface.
class ConfigKeys {
 public:
  /// All arguments must outlive the reader. `text` is searched for the line of a key.
  ConfigKeys(const nlohmann::json& merged, const std::string& text, const std::string& file,
             Diagnostics& diagnostics);

  [[nodiscard]] bool has(KeyNames names) const;
  /// The first of `names` that is present, else nullptr.
  [[nodiscard]] const char* present(KeyNames names) const;
  [[nodiscard]] bool is_list(KeyNames names) const;
  [[nodiscard]] const nlohmann::json* find(const char* path) const;

  /// A required whole number; missing or malformed is a mistake and gives `range.min`.
  int integer(KeyNames names, Range range);
  /// nullopt if absent (or malformed, which is a mistake).
  std::optional<int> optional_integer(KeyNames names, Range range);
  int integer_or(KeyNames names, int fallback, Range range);
  bool boolean_or(KeyNames names, bool fallback);
  std::string text_or(KeyNames names, const std::string& fallback);
  /// A list of whole numbers; empty if absent.
  std::vector<int> integers(KeyNames names, Range range);
  /// A list of texts; empty if absent.
  std::vector<std::string> texts(KeyNames names);
  /// One value per layer from a number or a list of `layers` numbers.
  std::vector<int> per_layer(KeyNames names, int layers, Range range);

  /// No mistake was found in any of these keys; checks across keys need it to report a mistake only
  /// once.
  [[nodiscard]] bool sound(KeyNames names) const;
  void missing(KeyNames names, const std::string& hint);
  void fail(const std::string& key, const std::string& problem, const std::string& hint);
  [[nodiscard]] Where where(const std::string& key) const;

 private:
  std::optional<int> whole_number(const nlohmann::json& value, const std::string& key, Range range);

  const nlohmann::json& merged_;
  const std::string& text_;
  const std::string& file_;
  Diagnostics& diagnostics_;
  std::set<std::string> failed_;
};

}  // namespace moesim
