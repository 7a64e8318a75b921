#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/diagnostic.h"
#include "sim/base/units.h"

namespace moesim {

/// A plausible range for a number; outside it the value is a mistake (GB/s where bytes/s belong).
struct Range {
  double min = 0;
  double max = 1e300;
};

/// A YAML or JSON document, with `--set` applied. Strict: tags, duplicate keys, NaN and infinity,
/// anchors and aliases are mistakes, which the reader of the root reports together with its own.
class Document {
 public:
  /// Throws InputError if the text is not one document of YAML or JSON.
  [[nodiscard]] static Document parse(const std::string& text, const std::string& file_name);
  [[nodiscard]] static Document load(const std::filesystem::path& path);
  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;
  Document(const Document& other);  ///< deep copy
  Document& operator=(const Document& other);
  ~Document();

  /// Replaces (or adds) the value at `path` ("system.nodes.0.gpus"); `value` is YAML. Missing maps
  /// on the way are made; a list index may be at most one past the end. `where` is reported for
  /// mistakes in the new value (file "--set" or the variant's place). Throws InputError if the path
  /// cannot exist.
  void set(const std::string& path, const std::string& value, const Where& where);
  /// Removes a key if present; returns whether it was.
  bool erase(const std::string& path);
  /// Value at a path as canonical one-line YAML flow text ("{a: 1}"), or nullopt if absent.
  [[nodiscard]] std::optional<std::string> get(const std::string& path) const;
  /// The document as JSON text, keys in file order (for `scenario` in the report).
  [[nodiscard]] std::string to_json() const;
  /// JSON text that is the same for documents that mean the same: keys sorted, numbers as the
  /// shortest decimals of their values.
  [[nodiscard]] std::string to_canonical_json() const;

  /// Whether some value is none that YAML's core can hold (.inf, a tag, an alias): reported when it
  /// is read, and absent from then on.
  [[nodiscard]] bool has_refused_values() const;

  [[nodiscard]] const std::string& file_name() const;

 private:
  friend class Reader;
  struct Impl;
  explicit Document(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Strict reader of one mapping. Every getter (`has` and `is_*`, too) marks its key as known;
/// `reject_unknown_keys` reports the rest with the nearest known name. Mistakes go to the
/// Diagnostics given at the root; the getter then returns its default (or a harmless value), so one
/// pass reports everything.
///
/// Getters named `x(key, range)` require the key; `x_or(key, fallback, range)` do not. A key whose
/// value is YAML null counts as absent.
class Reader {
 public:
  /// Reads the root mapping. `document` and `diagnostics` must outlive the reader.
  Reader(const Document& document, Diagnostics& diagnostics);
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  Reader(Reader&&) noexcept;
  ~Reader();

  [[nodiscard]] bool has(const std::string& key) const;  ///< present and not null
  /// Whether a mistake, reported already, stands where the value was (.inf, a tag, an alias).
  [[nodiscard]] bool refused(const std::string& key) const;
  /// Whether a mistake at this key or below it is reported: its value is unknown, and a rule that
  /// depends on it would judge what the getter returned instead. "" is the mapping itself.
  [[nodiscard]] bool faulty(const std::string& key) const;
  /// Present or refused: whether the user meant to give it.
  [[nodiscard]] bool given(const std::string& key) const { return has(key) || refused(key); }
  [[nodiscard]] bool is_map(const std::string& key) const;
  [[nodiscard]] bool is_list(const std::string& key) const;
  [[nodiscard]] bool is_text(
      const std::string& key) const;  ///< a scalar that is not a number or bool
  [[nodiscard]] bool is_number(const std::string& key) const;

  std::string text(const std::string& key);
  std::string text_or(const std::string& key, const std::string& fallback);
  /// One of `allowed`; otherwise a mistake with the nearest name.
  std::string choice_or(const std::string& key, const std::vector<std::string>& allowed,
                        const std::string& fallback);
  std::int64_t integer(const std::string& key, Range range);
  std::int64_t integer_or(const std::string& key, std::int64_t fallback, Range range);
  double number(const std::string& key, Range range);
  double number_or(const std::string& key, double fallback, Range range);
  std::optional<double> optional_number(const std::string& key, Range range);
  std::optional<std::int64_t> optional_integer(const std::string& key, Range range);
  bool boolean_or(const std::string& key, bool fallback);
  Bytes bytes(const std::string& key, Range range);
  BytesPerSecond bytes_per_s(const std::string& key, Range range);
  FlopsPerSecond flops_per_s(const std::string& key, Range range);
  std::vector<double> numbers_or(const std::string& key, const std::vector<double>& fallback,
                                 Range range);

  /// The mapping at `key`; an empty reader (every key absent) if it is missing. `map` reports a
  /// missing key, `map_or_empty` does not.
  Reader map(const std::string& key);
  Reader map_or_empty(const std::string& key);
  /// The list at `key`, each item a mapping. Missing or empty: a mistake for `maps`, empty for
  /// `maps_or_empty`.
  std::vector<Reader> maps(const std::string& key);
  std::vector<Reader> maps_or_empty(const std::string& key);
  /// Scalar items of a list as text.
  std::vector<std::string> texts_or_empty(const std::string& key);
  /// The subtree at `key` as canonical YAML flow text (for `variants[].set`); marks it known.
  std::string raw(const std::string& key);

  /// All keys of this mapping, in file order.
  [[nodiscard]] std::vector<std::string> keys() const;
  /// Marks a key as known without reading it.
  void ignore(const std::string& key);
  /// Keys that exist in the schema but belong to a later release: "`key` is reserved ...".
  void reject_reserved(const std::vector<std::string>& keys, const std::string& why);
  void reject_unknown_keys();
  /// Adds a mistake at `key` (or at the mapping if `key` is empty or absent); nothing if the value
  /// of `key` was refused, since one mistake gives one message.
  void fail(const std::string& key, const std::string& problem, const std::string& hint);

  [[nodiscard]] Where where(const std::string& key = "") const;
  [[nodiscard]] std::string path(const std::string& key = "") const;  ///< "system.nodes.0.gpus"

 private:
  struct Impl;
  explicit Reader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace moesim
