#include <fmt/format.h>
#include <istream>
#include <map>
#include <streambuf>
#include <string_view>
#include <utility>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "sim/base/document_impl.h"
#include "sim/base/utf8.h"

// The only file that knows yaml-cpp (0.7 or 0.8). We take its events, because they show what its
// nodes hide: places, duplicate keys, anchors, tags and quotes.

namespace moesim {
namespace {

/// Ends yaml-cpp's parse after a mistake that leaves nothing to build on.
struct Stop {};

/// The mistakes found in one text, each at its place in the text or at the fixed place.
class Mistakes {
 public:
  explicit Mistakes(const ParseInput& input) : input_(input) {}

  [[nodiscard]] Place place(const YAML::Mark& mark) const {
    if (input_.fixed) return {input_.file_index, input_.fixed->line, input_.fixed->column};
    return {input_.file_index, mark.line + 1, mark.column + 1};  // yaml-cpp counts from 0
  }
  void add(const Place& place, const std::string& key, std::string problem, std::string hint) {
    // Enough to see the pattern; a damaged file could otherwise bring thousands.
    constexpr std::size_t kMost = 100;
    if (list_.size() >= kMost) return;
    const Where where = input_.fixed ? *input_.fixed : Where{input_.file, place.line, place.column};
    list_.push_back({where, join_path(input_.key, key), std::move(problem), std::move(hint)});
  }
  void throw_if_any() const {
    if (!list_.empty()) throw InputError(list_);
  }
  [[nodiscard]] std::vector<Diagnostic> take() { return std::move(list_); }

 private:
  const ParseInput& input_;
  std::vector<Diagnostic> list_;
};

bool is_not_finite(const std::string& text) {
  static constexpr std::string_view kNames[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
  const bool sign = text.starts_with('-') || text.starts_with('+');
  const std::string_view bare = std::string_view(text).substr(sign ? 1 : 0);
  for (const std::string_view name : kNames) {
    if (bare == name) return true;
  }
  return false;
}

/// Builds our tree from yaml-cpp's events.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(const std::string& text, Mistakes& mistakes) : text_(text), mistakes_(mistakes) {}
  [[nodiscard]] TreeNode take() { return std::move(root_); }
  /// Where the innermost list or mapping began that is not closed yet.
  [[nodiscard]] std::optional<Place> open_place() const {
    if (frames_.empty()) return std::nullopt;
    return frames_.back().node.place;
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ == 1) return;
    if (at(mark) == '-' && text_.compare(static_cast<std::size_t>(mark.pos), 3, "---") == 0) {
      stop(mark, "a second document starts here", "keep one document in a file");
    }
    stop(mark, "unexpected text after the end of the document",
         "check indentation and brackets above");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    reject_anchor(mark, anchor);
    if (key_expected()) stop(mark, "a key is missing before ':'", "write `name: value`");
    add(scalar_node(TreeNode::Kind::kNull, mark));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    reject_alias(mark);
    if (key_expected()) throw Stop{};
    add(refused_node(mark));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    reject_anchor(mark, anchor);
    // yaml-cpp gives untagged plain scalars "?" and untagged quoted ones "!".
    const char first = at(mark);
    const bool tagged = tag != "?" && (tag != "!" || first == '!');
    if (tagged) reject_tag(mark, tag);
    if (tag == "!" && (first == '"' || first == '\'')) require_closing(mark, first);
    if (!is_utf8(value)) {  // yaml-cpp makes single bytes of two of YAML's escapes
      stop(mark, "the escapes \\N and \\_ are not supported", "write \\u0085 or \\u00a0");
    }
    TreeNode node = scalar_node(TreeNode::Kind::kScalar, mark);
    node.quoted = tag != "?";
    node.scalar = value;
    if (key_expected()) {
      take_key(mark, node);
    } else {
      add(usable(node) && !tagged ? std::move(node) : refused_node(mark));
    }
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(TreeNode::Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(TreeNode::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    TreeNode node;
    std::optional<TreeNode::Entry> pending;  ///< the key whose value comes next
    bool duplicate = false;                  ///< `pending` is dropped
    std::map<std::string, Place> seen;
  };

  /// The character at a place, 0 at the end.
  [[nodiscard]] char at(const YAML::Mark& mark) const {
    const bool inside = mark.pos >= 0 && static_cast<std::size_t>(mark.pos) < text_.size();
    return inside ? text_[static_cast<std::size_t>(mark.pos)] : '\0';
  }

  [[nodiscard]] bool key_expected() const {
    return !frames_.empty() && frames_.back().node.kind == TreeNode::Kind::kMap &&
           !frames_.back().pending;
  }

  [[nodiscard]] TreeNode refused_node(const YAML::Mark& mark) const {
    TreeNode node = scalar_node(TreeNode::Kind::kNull, mark);
    node.refused = true;
    return node;
  }

  [[nodiscard]] TreeNode scalar_node(TreeNode::Kind kind, const YAML::Mark& mark) const {
    TreeNode node;
    node.kind = kind;
    node.place = mistakes_.place(mark);
    return node;
  }

  /// Path of the value (or key) that comes next.
  [[nodiscard]] std::string path() const {
    std::string result;
    for (const Frame& frame : frames_) {
      if (frame.node.kind == TreeNode::Kind::kList) {
        result = join_path(result, std::to_string(frame.node.items.size()));
      } else if (frame.pending) {
        result = join_path(result, frame.pending->key);
      }
    }
    return result;
  }

  void open(TreeNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    reject_anchor(mark, anchor);
    if (!tag.empty() && tag != "?") reject_tag(mark, tag);
    if (frames_.size() >= kMaxDepth) {
      stop(mark, fmt::format("nested more than {} levels deep", kMaxDepth),
           "check for unclosed brackets");
    }
    frames_.emplace_back();
    frames_.back().node = scalar_node(kind, mark);
  }

  void close() {
    TreeNode node = std::move(frames_.back().node);
    frames_.pop_back();
    // Not seen before its end, because yaml-cpp also takes an unclosed bracket for a key at first.
    if (key_expected()) {
      mistakes_.add(node.place, path(), "a key must be a plain name", "write `name: value`");
      throw Stop{};
    }
    add(std::move(node));
  }

  void add(TreeNode node) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.node.kind == TreeNode::Kind::kList) {
      frame.node.items.push_back(std::move(node));
      return;
    }
    frame.pending->value = std::move(node);
    if (!frame.duplicate) frame.node.entries.push_back(std::move(*frame.pending));
    frame.pending.reset();
  }

  void take_key(const YAML::Mark& mark, const TreeNode& key) {
    Frame& frame = frames_.back();
    if (key.scalar.size() > kLongestKey) {
      stop(mark, fmt::format("a key of {} bytes", key.scalar.size()),
           fmt::format("use at most {}; is a quote or a line break missing?", kLongestKey));
    }
    if (!key.quoted && key.scalar == "<<") {
      stop(mark, "merge keys (<<) are not supported", "write the keys out");
    }
    const auto [it, inserted] = frame.seen.emplace(key.scalar, key.place);
    frame.duplicate = !inserted;
    if (frame.duplicate) {
      const int line = it->second.line;
      mistakes_.add(
          key.place, join_path(path(), key.scalar),
          line > 0 ? fmt::format("duplicate key, already given on line {}", line) : "duplicate key",
          "remove one of the two");
    }
    frame.pending = TreeNode::Entry{key.scalar, key.place, TreeNode{}};
  }

  /// False, after reporting, for a number that no double holds.
  [[nodiscard]] bool usable(const TreeNode& node) {
    if (node.quoted) return true;
    if (is_not_finite(node.scalar)) {
      mistakes_.add(node.place, path(), node.scalar + " is not allowed",
                    "write a finite number, or leave the key out");
    } else if (is_number_literal(node.scalar) && !literal_value(node.scalar)) {
      mistakes_.add(node.place, path(), describe(node) + " is beyond double precision",
                    "write a smaller number, or quote it if it is text");
    } else {
      return true;
    }
    return false;
  }

  /// yaml-cpp takes the end of the file for a closing quote if it follows a line end.
  void require_closing(const YAML::Mark& mark, char quote) {
    for (std::size_t i = static_cast<std::size_t>(mark.pos) + 1; i < text_.size(); ++i) {
      const bool pair = quote == '\'' && text_.compare(i, 2, "''") == 0;
      const bool escape = quote == '"' && text_[i] == '\\';
      if (pair || escape) {
        ++i;
      } else if (text_[i] == quote) {
        return;
      }
    }
    stop(mark, "a quote is not closed", "close it, or escape quotes inside the text");
  }

  void reject_tag(const YAML::Mark& mark, std::string tag) {
    constexpr std::string_view kCore = "tag:yaml.org,2002:";
    if (tag.starts_with(kCore)) tag.replace(0, kCore.size(), "!!");
    mistakes_.add(mistakes_.place(mark), path(), fmt::format("the tag '{}' is not allowed", tag),
                  "remove it; quote the value if it is text");
  }

  void reject_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor == 0) return;
    mistakes_.add(mistakes_.place(mark), path(), "anchors (&name) are not supported",
                  "remove it and write the value out where it is used");
  }

  void reject_alias(const YAML::Mark& mark) {
    mistakes_.add(mistakes_.place(mark), path(), "aliases (*name) are not supported",
                  "write the value out; quote it if it is text");
  }

  [[noreturn]] void stop(const YAML::Mark& mark, std::string problem, std::string hint) {
    mistakes_.add(mistakes_.place(mark), path(), std::move(problem), std::move(hint));
    throw Stop{};
  }

  const std::string& text_;
  Mistakes& mistakes_;
  TreeNode root_;
  std::vector<Frame> frames_;
  int documents_ = 0;
};

/// What to do about a message of yaml-cpp.
std::string hint_for(const std::string& message, const std::string& line) {
  struct Row {
    const char* part;
    const char* hint;
  };
  static constexpr Row kRows[] = {
      {"illegal map value", "check the indentation; text that contains ': ' needs quotes"},
      {"end of map flow", "a '{' is not closed, or a ',' is missing"},
      {"end of sequence flow", "a '[' is not closed, or a ',' is missing"},
      {"end of map", "check that keys of one mapping start in the same column, and quotes"},
      {"end of sequence", "check that items of one list start in the same column, and quotes"},
      {"illegal EOF in scalar", "a quote is not closed"},
      {"illegal flow end", "there is a closing bracket too many"},
      {"illegal block entry", "put a list on its own lines below its key, or in [brackets]"},
      {"unknown token", "text that starts with @, ` or % needs quotes"},
      {"unknown escape", "write a backslash as \\\\, or use single quotes"},
      {"referenced anchor", "aliases (*name) are not supported; quote it if it is text"},
      {"alias", "text that starts with * needs quotes"},
      {"anchor", "text that starts with & needs quotes"},
      {"tag", "text that starts with ! needs quotes"},
      {"YAML", "remove the line that starts with %"},
      {"TAG", "remove the line that starts with %"},
  };
  const std::size_t first = line.find_first_not_of(" \t");
  const std::size_t tab = line.find('\t');
  if (tab != std::string::npos && (first == std::string::npos || tab < first)) {
    return "indent with spaces, not tabs";
  }
  for (const Row& row : kRows) {
    if (message.find(row.part) != std::string::npos) return row.hint;
  }
  return "check indentation, quotes, colons and brackets here";
}

std::string line_at(const std::string& text, int position) {
  if (position < 0 || static_cast<std::size_t>(position) > text.size()) return "";
  const auto at = static_cast<std::size_t>(position);
  const std::size_t before = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
  const std::size_t begin = before == std::string::npos ? 0 : before + 1;
  return text.substr(begin, text.find('\n', begin) - begin);
}

/// yaml-cpp guesses encodings and repairs bad bytes silently; we take plain UTF-8 or say no.
void reject_bad_bytes(const ParseInput& input, const std::string& text, Mistakes& mistakes) {
  const std::optional<BadByte> bad = first_bad_byte(text);
  if (!bad) return;
  mistakes.add({input.file_index, bad->line, bad->column}, "", bad->problem, bad->hint);
}

/// The text with the words of its comments left out, for yaml-cpp takes as long over them as over
/// values. Places of values stay, for `#` and the end of the line do. From the first character on
/// that may begin a text with `#` in it (a quote, a block scalar) nothing is changed.
std::string without_comments(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  bool comment = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n' || c == '\r') comment = false;
    if (comment) continue;
    if (c == '\'' || c == '"' || c == '|' || c == '>') return out.append(text, i);
    comment = c == '#' && (i == 0 || text[i - 1] == '\n' || text[i - 1] == ' ');
    out += c;
  }
  return out;
}

/// Reads a string without the copy that std::istringstream makes.
class StringBuffer final : public std::streambuf {
 public:
  explicit StringBuffer(std::string& text) {
    setg(text.data(), text.data(), text.data() + text.size());
  }
};

}  // namespace

ParsedText parse_yaml(const ParseInput& input) {
  Mistakes mistakes(input);
  reject_bad_bytes(input, input.text, mistakes);
  reject_bad_bytes(input, input.key, mistakes);  // it becomes a key of the tree
  mistakes.throw_if_any();
  std::string text = without_comments(input.text);
  TreeBuilder builder(text, mistakes);
  try {
    StringBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) continue;
    return {builder.take(), mistakes.take()};
  } catch (const Stop&) {
    // Reported by the builder.
  } catch (const YAML::Exception& error) {
    const bool unclosed = error.msg.find("flow not found") != std::string::npos;
    const Place end = mistakes.place(error.mark);
    mistakes.add(unclosed ? builder.open_place().value_or(end) : end, "",
                 "not valid YAML: " + error.msg,
                 hint_for(error.msg, line_at(text, error.mark.pos)));
  }
  mistakes.throw_if_any();
  return {};
}

}  // namespace moesim
