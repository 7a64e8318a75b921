#include <algorithm>
#include <set>
#include <utility>

#include "scenarios/load_parts.h"

namespace moesim {
namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

/// A variant's files lie in a folder of its name, beside those of the base and the comparison.
void reject_file_name(Reader& in, const std::string& name) {
  static const std::set<std::string> kFiles = {"report.json",    "metrics.prom", "report.html",
                                               "requests.jsonl", "trace.json",   "comparison.json"};
  if (kFiles.contains(name))
    in.fail("name", "'" + name + "' is a file that a run writes", "choose another name");
}

VariantSpec read_variant(Reader& in) {
  VariantSpec variant;
  variant.where = in.where();
  variant.name = read_safe_name(in, "name");
  reject_file_name(in, variant.name);
  Reader set = in.map("set");
  for (const std::string& path : set.keys()) {
    const std::string first = path.substr(0, path.find('.'));
    if (first == "variants" || first == "schema_version") {
      set.fail(path, "cannot be set by a variant", "write it at the top level");
      continue;
    }
    variant.set.emplace_back(path, set.raw(path));
    variant.set_where.push_back(set.where(path));
  }
  if (in.is_map("set") && set.keys().empty())
    in.fail("set", "changes nothing", "write {path: value}");
  in.reject_unknown_keys();
  return variant;
}

}  // namespace

std::string read_safe_name(Reader& in, const std::string& key) {
  std::string name = in.text(key);
  if (name.empty()) {
    if (in.is_text(key)) in.fail(key, "is empty", "use letters, digits, - _ .");
    return name;
  }
  // Names become file and folder names.
  const bool plain =
      std::ranges::all_of(name, is_name_character) && name[0] != '.' && name.size() <= 100;
  if (!plain)
    in.fail(key, "'" + name + "' is not a plain name",
            "use letters, digits, - _ . (at most 100, no dot first)");
  return name;
}

std::vector<VariantSpec> read_variants(Reader& root) {
  std::vector<VariantSpec> variants;
  std::set<std::string> names;
  for (Reader& in : root.maps_or_empty("variants")) {
    variants.push_back(read_variant(in));
    const std::string& name = variants.back().name;
    if (!name.empty() && !names.insert(name).second) {
      in.fail("name", "'" + name + "' is taken by an earlier variant", "choose another name");
    }
  }
  return variants;
}

}  // namespace moesim
