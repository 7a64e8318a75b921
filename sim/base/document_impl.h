#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/reader.h"

// Private to sim/base: the tree behind Document and Reader.
// We keep our own tree because YAML::Node loses duplicate keys, and YAML::Clone loses places.

namespace moesim {

/// A Where with its file as an index into Tree::files.
struct Place {
  int file = 0;
  int line = 0;
  int column = 0;
};

struct TreeNode {
  struct Entry;
  enum class Kind { kNull, kScalar, kList, kMap };
  /// What a scalar means by the YAML 1.2 core schema; hexadecimal and octal count as text.
  enum class Type { kBool, kNumber, kText };

  Kind kind = Kind::kNull;
  bool quoted = false;   ///< a quoted or block scalar is text whatever it looks like
  bool refused = false;  ///< a mistake was found where the value stood; it is null
  std::string scalar;    ///< as written, without quotes
  std::vector<TreeNode> items;
  std::vector<Entry> entries;  ///< in file order; keys are unique
  Place place;

  [[nodiscard]] bool is(Type type) const;
  [[nodiscard]] Type type() const;  ///< of a scalar
  [[nodiscard]] const Entry* find(const std::string& key) const;
  [[nodiscard]] Entry* find(const std::string& key);
};

struct TreeNode::Entry {
  std::string key;
  Place place;
  TreeNode value;

  /// Where to point for this value: at it, but at the key of a block below its key or of nothing.
  [[nodiscard]] Place shown_place() const;
};

struct Tree {
  std::vector<std::string> files;  ///< files[0] is the document; others come from `set`
  TreeNode root;
  /// Mistakes that left the rest to be read: the reader of the root reports them with all others.
  std::vector<Diagnostic> mistakes;

  [[nodiscard]] Where where(const Place& place) const;
  int file_index(const std::string& file);  ///< adds it if it is new
};

struct Document::Impl {
  Tree tree;
};

/// Deepest nesting we accept; real scenarios need about 8. Bounds every recursion over a tree.
inline constexpr int kMaxDepth = 64;
/// yaml-cpp reads keys of up to 1024 characters; ours must fit after escaping, too.
inline constexpr std::size_t kLongestKey = 128;

/// What to parse and how to report on it.
struct ParseInput {
  const std::string& text;
  std::string file;    ///< for messages
  int file_index = 0;  ///< for places
  std::optional<Where> fixed =
      std::nullopt;      ///< the place of every node and message, if not the text's own (`set`)
  std::string key = {};  ///< prefix of the key in messages
};
struct ParsedText {
  TreeNode root;
  /// Of keys given twice (the first one counts), anchors and tags of mappings and lists (which are
  /// read without them), tagged scalars, aliases and numbers nothing can hold (refused).
  std::vector<Diagnostic> mistakes;
};
/// The one value in a YAML or JSON text; null if there is none. Throws InputError if that cannot be
/// told, with all mistakes until then.
[[nodiscard]] ParsedText parse_yaml(const ParseInput& input);

/// "true", "8", "{a: [1, x]}": one line, parses back to the same tree.
[[nodiscard]] std::string flow_text(const TreeNode& node);
[[nodiscard]] std::string json_text(const TreeNode& node);
[[nodiscard]] std::string canonical_json_text(const TreeNode& node);

/// Whether a plain scalar is a decimal number of YAML's core schema.
[[nodiscard]] bool is_number_literal(const std::string& text);
/// Value of a number literal, or nothing if a double cannot hold it.
[[nodiscard]] std::optional<double> literal_value(const std::string& text);
/// At most 40 bytes of a value, for messages.
[[nodiscard]] std::string short_text(const std::string& text);
/// For messages: "text 'abc'", "the number 3", "a list".
[[nodiscard]] std::string describe(const TreeNode& node);
/// Shortest text that reads back as `value`, without "e+": "2048", "1e11", "3.35e12".
[[nodiscard]] std::string number_text(double value);
/// "a.b" + "c" = "a.b.c".
[[nodiscard]] std::string join_path(const std::string& parent, const std::string& key);
[[nodiscard]] std::vector<std::string> split_path(const std::string& path);
/// The position a path component names in a list, or nothing if it is not a small whole number.
[[nodiscard]] std::optional<std::size_t> list_index(const std::string& text);

}  // namespace moesim
