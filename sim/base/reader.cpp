#include "sim/base/reader.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "sim/base/reader_impl.h"

namespace moesim {

Reader::Reader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Reader::Reader(Reader&&) noexcept = default;
Reader::~Reader() = default;

Reader::Reader(const Document& document, Diagnostics& diagnostics) {
  Impl root;
  root.tree = &document.impl_->tree;
  root.diagnostics = &diagnostics;
  for (const Diagnostic& mistake : root.tree->mistakes) diagnostics.add(mistake);
  impl_ = root.child(&root.tree->root, root.tree->root.place, "");
}

bool Reader::has(const std::string& key) const {
  return impl_->value(key) != nullptr;
}

bool Reader::refused(const std::string& key) const {
  const TreeNode::Entry* const found = impl_->entry(key);
  return found != nullptr && found->value.refused;
}

bool Reader::faulty(const std::string& key) const {
  return refused(key) || impl_->diagnostics->any_at(path(key));
}

bool Reader::is_map(const std::string& key) const {
  const TreeNode* const found = impl_->value(key);
  return found != nullptr && found->kind == TreeNode::Kind::kMap;
}

bool Reader::is_list(const std::string& key) const {
  const TreeNode* const found = impl_->value(key);
  return found != nullptr && found->kind == TreeNode::Kind::kList;
}

bool Reader::is_text(const std::string& key) const {
  const TreeNode* const found = impl_->value(key);
  return found != nullptr && found->is(TreeNode::Type::kText);
}

bool Reader::is_number(const std::string& key) const {
  const TreeNode* const found = impl_->value(key);
  return found != nullptr && found->is(TreeNode::Type::kNumber);
}

std::string Reader::text(const std::string& key) {
  const TreeNode* const found = impl_->required(key, "text");
  return found == nullptr ? "" : impl_->to_text(*found, key).value_or("");
}

std::string Reader::text_or(const std::string& key, const std::string& fallback) {
  const TreeNode* const found = impl_->value(key);
  return found == nullptr ? fallback : impl_->to_text(*found, key).value_or(fallback);
}

std::string Reader::choice_or(const std::string& key, const std::vector<std::string>& allowed,
                              const std::string& fallback) {
  const TreeNode* const found = impl_->value(key);
  if (found == nullptr) return fallback;
  // A choice may look like a number or a bool ("true", "8"); what counts is how it is written.
  if (found->kind != TreeNode::Kind::kScalar) {
    impl_->wrong_type(impl_->place_of(key), key, "one name", *found);
    return fallback;
  }
  if (std::ranges::find(allowed, found->scalar) != allowed.end()) return found->scalar;
  fail(key, "unknown choice '" + short_text(found->scalar) + "'",
       nearest_name_hint(found->scalar, allowed));
  return fallback;
}

std::int64_t Reader::integer(const std::string& key, Range range) {
  const TreeNode* const found = impl_->required(key, "a whole number");
  const auto missing = static_cast<std::int64_t>(harmless(range));
  return found == nullptr ? missing : impl_->to_integer(*found, key, range).value_or(missing);
}

std::optional<std::int64_t> Reader::optional_integer(const std::string& key, Range range) {
  const TreeNode* const found = impl_->value(key);
  if (found == nullptr) return std::nullopt;
  return impl_->to_integer(*found, key, range);
}

std::int64_t Reader::integer_or(const std::string& key, std::int64_t fallback, Range range) {
  return optional_integer(key, range).value_or(fallback);
}

double Reader::number(const std::string& key, Range range) {
  const TreeNode* const found = impl_->required(key, "a number");
  if (found == nullptr) return harmless(range);
  return impl_->to_number(*found, key, range).value_or(harmless(range));
}

std::optional<double> Reader::optional_number(const std::string& key, Range range) {
  const TreeNode* const found = impl_->value(key);
  if (found == nullptr) return std::nullopt;
  return impl_->to_number(*found, key, range);
}

double Reader::number_or(const std::string& key, double fallback, Range range) {
  return optional_number(key, range).value_or(fallback);
}

bool Reader::boolean_or(const std::string& key, bool fallback) {
  const TreeNode* const found = impl_->value(key);
  if (found == nullptr) return fallback;
  if (found->is(TreeNode::Type::kBool)) return found->scalar[0] == 't' || found->scalar[0] == 'T';
  static constexpr std::string_view kTrue[] = {"yes", "Yes", "YES", "on", "On", "ON", "y", "1"};
  static constexpr std::string_view kFalse[] = {"no", "No", "NO", "off", "Off", "OFF", "n", "0"};
  const auto is_one_of = [&](std::span<const std::string_view> names) {
    return std::ranges::find(names, found->scalar) != names.end();
  };
  const char* hint = "write true or false";
  if (is_one_of(kTrue)) hint = "write true";
  if (is_one_of(kFalse)) hint = "write false";
  if (found->quoted && (found->scalar == "true" || found->scalar == "false")) {
    hint = "remove the quotes";
  }
  fail(key, expected("true or false", *found), hint);
  return fallback;
}

Bytes Reader::bytes(const std::string& key, Range range) {
  const TreeNode* const found = impl_->required(key, "a number of bytes");
  const auto missing = static_cast<std::int64_t>(harmless(range));
  if (found == nullptr) return Bytes(missing);
  return Bytes(impl_->to_integer(*found, key, range, kByteUnit).value_or(missing));
}

BytesPerSecond Reader::bytes_per_s(const std::string& key, Range range) {
  const TreeNode* const found = impl_->required(key, "a number of bytes/s");
  if (found == nullptr) return BytesPerSecond(harmless(range));
  return BytesPerSecond(
      impl_->to_number(*found, key, range, kByteRateUnit).value_or(harmless(range)));
}

FlopsPerSecond Reader::flops_per_s(const std::string& key, Range range) {
  const TreeNode* const found = impl_->required(key, "a number of flops/s");
  if (found == nullptr) return FlopsPerSecond(harmless(range));
  return FlopsPerSecond(
      impl_->to_number(*found, key, range, kFlopRateUnit).value_or(harmless(range)));
}

std::vector<double> Reader::numbers_or(const std::string& key, const std::vector<double>& fallback,
                                       Range range) {
  const TreeNode* const found = impl_->list(key, "a list of numbers");
  if (found == nullptr) return fallback;
  std::vector<double> result;
  bool good = true;
  for (std::size_t i = 0; i < found->items.size(); ++i) {
    const std::string name = join_path(key, std::to_string(i));
    const std::optional<double> number = impl_->to_number(found->items[i], name, range);
    good = good && number.has_value();
    result.push_back(number.value_or(0));
  }
  return good ? result : fallback;
}

Reader Reader::map(const std::string& key) {
  const TreeNode* const found = impl_->required(key, "a mapping");
  Reader result(impl_->child(found, impl_->place_of(key), key));
  if (found == nullptr) result.impl_->muted = true;
  return result;
}

Reader Reader::map_or_empty(const std::string& key) {
  return Reader(impl_->child(impl_->value(key), impl_->place_of(key), key));
}

std::vector<Reader> Reader::maps(const std::string& key) {
  const TreeNode* const found = impl_->required(key, "a list of mappings");
  if (found != nullptr && found->kind == TreeNode::Kind::kList && found->items.empty()) {
    fail(key, "the list is empty", "write at least one item");
  }
  return maps_or_empty(key);
}

std::vector<Reader> Reader::maps_or_empty(const std::string& key) {
  std::vector<Reader> result;
  const TreeNode* const found = impl_->list(key, "a list of mappings");
  if (found == nullptr) return result;
  for (std::size_t i = 0; i < found->items.size(); ++i) {
    const TreeNode& item = found->items[i];
    std::unique_ptr<Impl> child =
        impl_->child(&item, item.place, join_path(key, std::to_string(i)));
    if (child->node != nullptr) result.push_back(Reader(std::move(child)));
  }
  return result;
}

std::vector<std::string> Reader::texts_or_empty(const std::string& key) {
  std::vector<std::string> result;
  const TreeNode* const found = impl_->list(key, "a list of texts");
  if (found == nullptr) return result;
  for (std::size_t i = 0; i < found->items.size(); ++i) {
    const TreeNode& item = found->items[i];
    if (item.kind == TreeNode::Kind::kScalar) {
      result.push_back(item.scalar);
    } else {
      impl_->wrong_type(item.place, join_path(key, std::to_string(i)), "text", item);
    }
  }
  return result;
}

std::string Reader::raw(const std::string& key) {
  const TreeNode* const found = impl_->value(key);
  return found == nullptr ? "" : flow_text(*found);
}

std::vector<std::string> Reader::keys() const {
  std::vector<std::string> result;
  if (impl_->node == nullptr) return result;
  for (const TreeNode::Entry& entry : impl_->node->entries) result.push_back(entry.key);
  return result;
}

void Reader::ignore(const std::string& key) {
  impl_->know(key);
}

void Reader::reject_reserved(const std::vector<std::string>& keys, const std::string& why) {
  for (const std::string& key : keys) {
    const TreeNode::Entry* const found = impl_->entry(key);
    if (found == nullptr) continue;
    impl_->know(key);
    impl_->report(found->place, key, "'" + key + "' is reserved for a later release",
                  why.empty() ? "leave it out" : why);
  }
}

void Reader::reject_unknown_keys() {
  if (impl_->node == nullptr) return;
  const std::vector<std::string>& known = impl_->known;
  for (const TreeNode::Entry& entry : impl_->node->entries) {
    if (std::ranges::find(known, entry.key) != known.end()) continue;
    impl_->report(entry.place, entry.key, "unknown key", nearest_name_hint(entry.key, known));
  }
}

void Reader::fail(const std::string& key, const std::string& problem, const std::string& hint) {
  if (refused(key)) return;
  impl_->report(impl_->place_of(key), key, problem, hint);
}

Where Reader::where(const std::string& key) const {
  return impl_->tree->where(impl_->place_of(key));
}

std::string Reader::path(const std::string& key) const {
  return join_path(impl_->path, key);
}

}  // namespace moesim
