#include <algorithm>
#include <fmt/format.h>
#include <span>
#include <utility>

#include "sim/base/document_impl.h"
#include "sim/base/files.h"

namespace moesim {

namespace {

using Names = std::span<const std::string>;

/// What `Document::set` was asked to do, for its messages.
struct SetRequest {
  const std::string& path;
  const Where& where;
  Place place;  ///< of everything it makes

  [[noreturn]] void fail(const std::string& problem, const std::string& hint) const {
    throw_input_error({where, path, problem, hint});
  }
};

int depth(const TreeNode& node) {
  int deepest = 0;
  for (const TreeNode& item : node.items) deepest = std::max(deepest, depth(item));
  for (const TreeNode::Entry& entry : node.entries) deepest = std::max(deepest, depth(entry.value));
  const bool leaf = node.kind == TreeNode::Kind::kScalar || node.kind == TreeNode::Kind::kNull;
  return leaf ? 0 : deepest + 1;
}

/// `value` inside the mappings (or one-item lists) that `names` asks for.
TreeNode wrapped(const SetRequest& request, Names names, TreeNode value) {
  for (; !names.empty(); names = names.first(names.size() - 1)) {
    TreeNode outer;
    outer.place = request.place;
    const std::optional<std::size_t> index = list_index(names.back());
    if (!index) {
      outer.kind = TreeNode::Kind::kMap;
      outer.entries.push_back({names.back(), request.place, std::move(value)});
    } else if (*index == 0) {
      outer.kind = TreeNode::Kind::kList;
      outer.items.push_back(std::move(value));
    } else {
      request.fail(fmt::format("there is no list yet, so no item {}", *index), "start with item 0");
    }
    value = std::move(outer);
  }
  return value;
}

void assign(const SetRequest& request, TreeNode& node, Names names, TreeNode value) {
  if (names.empty() || node.kind == TreeNode::Kind::kNull) {
    node = wrapped(request, names, std::move(value));
    return;
  }
  const std::string& name = names.front();
  const Names rest = names.subspan(1);
  if (node.kind == TreeNode::Kind::kMap) {
    if (TreeNode::Entry* entry = node.find(name)) {
      if (rest.empty()) entry->place = request.place;  // of nothing, the key is all that shows
      assign(request, entry->value, rest, std::move(value));
    } else {
      node.entries.push_back({name, request.place, wrapped(request, rest, std::move(value))});
    }
    return;
  }
  if (node.kind == TreeNode::Kind::kScalar) {
    request.fail(fmt::format("'{}' cannot be set inside {}", name, describe(node)),
                 "replace the whole value");
  }
  const std::optional<std::size_t> index = list_index(name);
  const std::size_t size = node.items.size();
  if (!index || *index > size) {
    request.fail(fmt::format("a list of {} has no item '{}'", size, name),
                 fmt::format("use 0 to {}; {} adds one", size, size));
  }
  if (*index < size) {
    assign(request, node.items[*index], rest, std::move(value));
  } else {
    node.items.push_back(wrapped(request, rest, std::move(value)));
  }
}

/// The node at a path, or null. `AnyNode` is TreeNode or const TreeNode.
template <class AnyNode>
AnyNode* find(AnyNode& root, Names names) {
  AnyNode* node = &root;
  for (const std::string& name : names) {
    auto* entry = node->find(name);
    const std::optional<std::size_t> index = list_index(name);
    if (entry != nullptr) {
      node = &entry->value;
    } else if (index && *index < node->items.size()) {
      node = &node->items[*index];
    } else {
      return nullptr;
    }
  }
  return node;
}

bool has_refused(const TreeNode& node) {
  return node.refused || std::ranges::any_of(node.items, has_refused) ||
         std::ranges::any_of(node.entries,
                             [](const TreeNode::Entry& entry) { return has_refused(entry.value); });
}

}  // namespace

Document::Document(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::Document(const Document& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}
Document::~Document() = default;

Document& Document::operator=(const Document& other) {
  if (this != &other) impl_ = std::make_unique<Impl>(*other.impl_);
  return *this;
}

Document Document::parse(const std::string& text, const std::string& file_name) {
  auto impl = std::make_unique<Impl>();
  impl->tree.files.push_back(file_name);
  ParsedText parsed = parse_yaml({.text = text, .file = file_name});
  impl->tree.root = std::move(parsed.root);
  impl->tree.mistakes = std::move(parsed.mistakes);
  if (impl->tree.root.kind == TreeNode::Kind::kNull) {
    const Where start{file_name, 1, 1};
    throw_input_error({start, "", "the file is empty", "write `key: value` lines"});
  }
  return Document(std::move(impl));
}

Document Document::load(const std::filesystem::path& path) {
  return parse(read_file(path), path.string());
}

void Document::set(const std::string& path, const std::string& value, const Where& where) {
  Tree& tree = impl_->tree;
  const int file = tree.file_index(where.file);
  const SetRequest request{path, where, {file, where.line, where.column}};
  const std::vector<std::string> names = split_path(path);
  for (const std::string& name : names) {
    if (name.empty()) request.fail("a name in the path is empty", "write it as key.key.0.key");
    if (name.size() > kLongestKey) request.fail("a name in the path is too long", "shorten it");
  }
  auto [node, mistakes] = parse_yaml(
      {.text = value, .file = where.file, .file_index = file, .fixed = where, .key = path});
  if (!mistakes.empty()) throw InputError(std::move(mistakes));
  if (node.kind == TreeNode::Kind::kNull) node.place = request.place;  // no text has no place
  if (static_cast<int>(names.size()) + depth(node) > kMaxDepth) {
    request.fail(fmt::format("nested more than {} levels deep", kMaxDepth), "shorten the path");
  }
  assign(request, tree.root, names, std::move(node));
}

bool Document::erase(const std::string& path) {
  const std::vector<std::string> names = split_path(path);
  const Names parent = Names(names).first(names.size() - 1);
  TreeNode* const node = find(impl_->tree.root, parent);
  if (node == nullptr) return false;
  const auto has_name = [&](const TreeNode::Entry& entry) { return entry.key == names.back(); };
  return std::erase_if(node->entries, has_name) > 0;
}

std::optional<std::string> Document::get(const std::string& path) const {
  const std::vector<std::string> names = split_path(path);
  const TreeNode* node = find(std::as_const(impl_->tree.root), Names(names));
  if (node == nullptr) return std::nullopt;
  return flow_text(*node);
}

std::string Document::to_json() const {
  return json_text(impl_->tree.root);
}

std::string Document::to_canonical_json() const {
  return canonical_json_text(impl_->tree.root);
}

bool Document::has_refused_values() const {
  return has_refused(impl_->tree.root);
}

const std::string& Document::file_name() const {
  return impl_->tree.files.front();
}

}  // namespace moesim
