#include "sim/base/reader_impl.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>

namespace moesim {
namespace {

/// Values from here on mean "no upper limit" in a Range.
constexpr double kUnlimited = 1e300;

bool contains(Range range, double value) {
  return value >= range.min && value <= range.max;
}

std::string range_text(Range range) {
  if (range.max < kUnlimited) return number_text(range.min) + " to " + number_text(range.max);
  return number_text(range.min) + " or more";
}

/// "3350 GB/s is written 3.35e12", if some usual unit explains the number.
std::string range_hint(const std::string& literal, double value, Range range, const Unit& unit) {
  for (const Scale& scale : unit.scales) {
    if (!contains(range, value * scale.factor)) continue;
    return fmt::format("{} {} is written {}", short_text(literal), scale.name,
                       number_text(value * scale.factor));
  }
  return fmt::format("write {}{}", range_text(range), unit.suffix);
}

/// Value of a number literal that `value` approximates; digits beyond double precision count.
std::int64_t exact_integer(const std::string& literal, double value) {
  std::int64_t result = 0;
  const char* const begin = literal.data() + (literal.starts_with('+') ? 1 : 0);
  const char* const end = literal.data() + literal.size();
  const bool whole = std::from_chars(begin, end, result).ptr == end;  // no point, no exponent
  return whole ? result : static_cast<std::int64_t>(value);
}

}  // namespace

double harmless(Range range) {
  return std::clamp(0.0, range.min, std::max(range.min, range.max));
}

std::string expected(const char* what, const TreeNode& found) {
  return fmt::format("expected {}, found {}", what, describe(found));
}

void Reader::Impl::know(const std::string& key) {
  if (std::ranges::find(known, key) == known.end()) known.push_back(key);
}

const TreeNode::Entry* Reader::Impl::entry(const std::string& key) const {
  return node == nullptr ? nullptr : node->find(key);
}

const TreeNode* Reader::Impl::value(const std::string& key) {
  know(key);
  const TreeNode::Entry* const found = entry(key);
  return found == nullptr || found->value.kind == TreeNode::Kind::kNull ? nullptr : &found->value;
}

const TreeNode* Reader::Impl::required(const std::string& key, const char* what) {
  const TreeNode* const found = value(key);
  const TreeNode::Entry* const given = entry(key);
  const bool refused = given != nullptr && given->value.refused;
  if (found == nullptr && !refused) {
    report(place_of(key), key, "required key is missing", fmt::format("write {}", what));
  }
  return found;
}

const TreeNode* Reader::Impl::list(const std::string& key, const char* what) {
  const TreeNode* const found = value(key);
  if (found == nullptr || found->kind == TreeNode::Kind::kList) return found;
  wrong_type(place_of(key), key, what, *found);
  return nullptr;
}

std::unique_ptr<Reader::Impl> Reader::Impl::child(const TreeNode* found, const Place& at,
                                                  const std::string& key) {
  auto result = std::make_unique<Impl>();
  result->tree = tree;
  result->path = join_path(path, key);
  result->place = at;
  result->diagnostics = diagnostics;
  result->muted = muted;
  if (found == nullptr) return result;
  if (found->kind == TreeNode::Kind::kMap) {
    result->node = found;
  } else {
    wrong_type(at, key, "a mapping", *found);
    result->muted = true;
  }
  return result;
}

Place Reader::Impl::place_of(const std::string& key) const {
  if (const TreeNode::Entry* const exact = entry(key)) return exact->shown_place();
  const TreeNode* at = node;
  Place best = place;
  for (const std::string& name : split_path(key)) {
    if (at == nullptr) break;
    const std::optional<std::size_t> index = list_index(name);
    if (const TreeNode::Entry* const next = at->find(name)) {
      at = &next->value;
      best = next->shown_place();
    } else if (index && *index < at->items.size()) {
      at = &at->items[*index];
      best = at->place;
    } else {
      break;
    }
  }
  return best;
}

void Reader::Impl::report(const Place& at, const std::string& key, const std::string& problem,
                          const std::string& hint) {
  if (muted) return;
  diagnostics->add({tree->where(at), join_path(path, key), problem, hint});
}

void Reader::Impl::wrong_type(const Place& at, const std::string& key, const char* what,
                              const TreeNode& found) {
  if (found.refused) return;
  const bool quoted_number = found.kind == TreeNode::Kind::kScalar && found.quoted &&
                             is_number_literal(found.scalar) &&
                             std::string_view(what).find("number") != std::string_view::npos;
  report(at, key, expected(what, found),
         quoted_number ? "remove the quotes" : fmt::format("write {}", what));
}

void Reader::Impl::out_of_range(const TreeNode& found, const std::string& key, double value,
                                Range range, const Unit& unit) {
  const bool below = value < range.min && range.max >= kUnlimited;
  const std::string limits =
      below ? "below " + number_text(range.min)
            : "outside " + number_text(range.min) + " to " + number_text(range.max);
  report(place_of(key), key,
         fmt::format("{} is {}{}", short_text(found.scalar), limits, unit.suffix),
         range_hint(found.scalar, value, range, unit));
}

std::optional<double> Reader::Impl::to_number(const TreeNode& found, const std::string& key,
                                              Range range, const Unit& unit) {
  const std::optional<double> result =
      found.is(TreeNode::Type::kNumber) ? literal_value(found.scalar) : std::nullopt;
  if (!result) {
    wrong_type(place_of(key), key, "a number", found);
    return std::nullopt;
  }
  if (contains(range, *result)) return result;
  out_of_range(found, key, *result, range, unit);
  return std::nullopt;
}

std::optional<std::int64_t> Reader::Impl::to_integer(const TreeNode& found, const std::string& key,
                                                     Range range, const Unit& unit) {
  constexpr double kLimit = 0x1p63;  // from here on a 64-bit integer overflows
  const std::optional<double> result =
      found.is(TreeNode::Type::kNumber) ? literal_value(found.scalar) : std::nullopt;
  if (!result || std::trunc(*result) != *result) {
    wrong_type(place_of(key), key, "a whole number", found);
    return std::nullopt;
  }
  const bool overflow = std::abs(*result) >= kLimit;
  if (contains(range, *result) && !overflow) return exact_integer(found.scalar, *result);
  if (overflow) range = {std::max(range.min, -kLimit), std::min(range.max, kLimit)};
  out_of_range(found, key, *result, range, unit);
  return std::nullopt;
}

std::optional<std::string> Reader::Impl::to_text(const TreeNode& found, const std::string& key) {
  if (found.is(TreeNode::Type::kText)) return found.scalar;
  const bool scalar = found.kind == TreeNode::Kind::kScalar;
  report(place_of(key), key, expected("text", found),
         scalar ? "quote it: \"" + short_text(found.scalar) + "\"" : "write text");
  return std::nullopt;
}

}  // namespace moesim
