#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <fmt/format.h>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/base/diagnostic.h"
#include "sim/base/files.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"

namespace moesim {
namespace {

using Json = nlohmann::ordered_json;

/// Sections whose numbers are compared, answers first. What went in is in `scenario`; `latency` and
/// `throughput` repeat `summary`, and `simulator` says nothing about the system.
constexpr std::array kSections{"summary",   "slo",         "saturation",    "cost",      "memory",
                               "breakdown", "utilization", "communication", "provenance"};

constexpr std::size_t kMaxRows = 24;

struct NumberChange {
  std::string path;
  std::optional<double> a, b;  ///< absent: the report does not have it
  [[nodiscard]] double difference() const { return b.value_or(0) - a.value_or(0); }
};
struct TextChange {
  std::string path;
  std::optional<std::string> a, b;
};
struct Difference {
  std::vector<TextChange> scenario, other;
  std::map<std::string, std::vector<NumberChange>> sections;
};

Json load_report(const std::string& file) {
  const auto fail = [&](const std::string& problem) {
    Diagnostic mistake;
    mistake.where.file = file;
    mistake.problem = problem;
    mistake.hint = "give a report.json written by moesim run";
    return InputError({mistake});
  };
  Json report = Json::parse(read_file(file), nullptr, false);
  if (report.is_discarded()) throw fail("is not JSON");
  if (!report.is_object() || !report.contains("schema_version") || !report.contains("summary"))
    throw fail("is not a report");
  if (report["schema_version"] != 1)
    throw fail(fmt::format("schema version {} is not known", report["schema_version"].dump()));
  return report;
}

/// Both reports, or what is wrong with either.
struct Reports {
  Json a, b;
};
Reports load_reports(const std::string& a, const std::string& b) {
  Diagnostics mistakes;
  const auto load = [&](const std::string& file) {
    try {
      return load_report(file);
    } catch (const InputError& error) {
      for (const Diagnostic& mistake : error.diagnostics()) mistakes.add(mistake);
      return Json();
    }
  };
  Reports reports{load(a), load(b)};
  mistakes.throw_if_any();
  return reports;
}

/// Leaves of a tree by dotted path, in order.
void flatten(const Json& node, const std::string& path,
             std::vector<std::pair<std::string, Json>>& out) {
  if (!node.is_structured() || node.empty()) {
    out.emplace_back(path, node);
    return;
  }
  std::size_t index = 0;
  for (const auto& [key, value] : node.items()) {
    const std::string part = node.is_array() ? std::to_string(index++) : key;
    flatten(value, path.empty() ? part : fmt::format("{}.{}", path, part), out);
  }
}

/// Leaves of both trees side by side: in the order of `a`, then what only `b` has.
struct Pair {
  std::string path;
  std::optional<Json> a, b;
};
std::vector<Pair> pair_leaves(const Json& a, const Json& b) {
  std::vector<std::pair<std::string, Json>> left;
  std::vector<std::pair<std::string, Json>> right;
  flatten(a, "", left);
  flatten(b, "", right);
  std::vector<Pair> pairs;
  std::map<std::string, std::size_t> row;
  for (auto& [path, value] : left) {
    row[path] = pairs.size();
    pairs.push_back({path, std::move(value), std::nullopt});
  }
  for (auto& [path, value] : right) {
    const auto found = row.find(path);
    if (found == row.end()) {
      pairs.push_back({path, std::nullopt, std::move(value)});
    } else {
      pairs[found->second].b = std::move(value);
    }
  }
  return pairs;
}

bool is_number(const std::optional<Json>& value) {
  return !value || value->is_number();
}
std::optional<double> number(const std::optional<Json>& value) {
  return value ? std::optional(value->get<double>()) : std::nullopt;
}
std::optional<std::string> text(const std::optional<Json>& value) {
  if (!value) return std::nullopt;
  return value->is_string() ? value->get<std::string>() : value->dump();
}

Json section_of(const Json& report, const char* name) {
  return report.contains(name) ? report[name] : Json::object();
}

Difference difference(const Json& a, const Json& b) {
  Difference out;
  for (const Pair& pair : pair_leaves(section_of(a, "scenario"), section_of(b, "scenario"))) {
    // A baseline has variants where one of them has none: neither says anything of its own run.
    const bool variants = pair.path == "variants" || pair.path.starts_with("variants.");
    if (pair.a != pair.b && !pair.path.empty() && !variants)
      out.scenario.push_back({pair.path, text(pair.a), text(pair.b)});
  }
  for (const char* key : {"tool_version", "digest"}) {
    if (a.value(key, "") != b.value(key, ""))
      out.other.push_back({key, a.value(key, ""), b.value(key, "")});
  }
  for (const char* section : kSections) {
    for (const Pair& pair : pair_leaves(section_of(a, section), section_of(b, section))) {
      if (pair.a == pair.b || pair.path.empty()) continue;
      if (is_number(pair.a) && is_number(pair.b)) {
        out.sections[section].push_back({pair.path, number(pair.a), number(pair.b)});
      } else {
        out.other.push_back({fmt::format("{}.{}", section, pair.path), text(pair.a), text(pair.b)});
      }
    }
  }
  // Why: the terms that changed most come first.
  std::vector<NumberChange>& terms = out.sections["breakdown"];
  std::stable_sort(terms.begin(), terms.end(), [](const NumberChange& x, const NumberChange& y) {
    return std::abs(x.difference()) > std::abs(y.difference());
  });
  return out;
}

std::string shown(const std::optional<std::string>& value) {
  return value.value_or("(absent)");
}
std::string shown(const std::optional<double>& value) {
  return value ? fmt::format("{:.6g}", *value) : "-";
}

void print_texts(const char* title, const std::vector<TextChange>& changes) {
  if (changes.empty()) return;
  std::cout << title << '\n';
  for (const TextChange& change : changes)
    std::cout << fmt::format("  {}: {} -> {}\n", change.path, shown(change.a), shown(change.b));
}

/// Rows of the table; the JSON has all of them. The median is p50, and one instance is the whole or
/// tells too much.
bool is_shown(const std::string& section, const NumberChange& change) {
  if (section == "summary")
    return !change.path.starts_with("median_") && !change.path.starts_with("std_");
  return section != "utilization" || !change.path.starts_with("instances.");
}

void print_row(const std::string& a, const std::string& b, const NumberChange& change) {
  std::string row =
      fmt::format("  {:<36} {:>12} {:>12} {:>12.6g}", change.path, a, b, change.difference());
  if (change.a && change.b && *change.a != 0)
    row += fmt::format(" {:>+9.1f} %", change.difference() / *change.a * 100);
  std::cout << row << '\n';
}

void print_section(const std::string& section, const std::vector<NumberChange>& changes) {
  std::cout << fmt::format("{:<38} {:>12} {:>12} {:>12}\n", section, "a", "b", "b - a");
  std::size_t rows = 0;
  std::size_t left_out = 0;
  for (const NumberChange& change : changes) {
    if (!is_shown(section, change)) continue;
    if (++rows > kMaxRows) {
      ++left_out;
    } else {
      print_row(shown(change.a), shown(change.b), change);
    }
  }
  if (left_out > 0) std::cout << fmt::format("  and {} more (--format json)\n", left_out);
}

void print_table(const Difference& changes) {
  bool any = !changes.scenario.empty() || !changes.other.empty();
  print_texts("scenario", changes.scenario);
  for (const char* section : kSections) {
    const auto found = changes.sections.find(section);
    if (found == changes.sections.end() || found->second.empty()) continue;
    any = true;
    print_section(section, found->second);
  }
  print_texts("also", changes.other);
  if (!any) std::cout << "no difference\n";
}

/// Six significant digits, as in the reports compared.
double rounded(double value) {
  return std::strtod(fmt::format("{:.6g}", value).c_str(), nullptr);
}

Json texts_json(const std::vector<TextChange>& changes) {
  Json out = Json::array();
  for (const TextChange& change : changes) {
    Json item = {{"path", change.path}};
    if (change.a) item["from"] = *change.a;
    if (change.b) item["to"] = *change.b;
    out.push_back(item);
  }
  return out;
}

void print_json(const Difference& changes) {
  Json out = {{"schema_version", 1}, {"scenario", texts_json(changes.scenario)}};
  for (const char* section : kSections) {
    const auto found = changes.sections.find(section);
    if (found == changes.sections.end()) continue;
    for (const NumberChange& change : found->second) {
      Json item = Json::object();
      if (change.a) item["a"] = *change.a;
      if (change.b) item["b"] = *change.b;
      if (change.a && change.b) item["abs"] = rounded(change.difference());
      if (change.a && change.b && *change.a != 0)
        item["rel"] = rounded(change.difference() / *change.a);
      out[section][change.path] = item;
    }
  }
  out["other"] = texts_json(changes.other);
  std::cout << out.dump(2) << '\n';
}

}  // namespace

int diff_command(const Arguments& args) {
  const Reports reports = load_reports(args.inputs[0], args.inputs[1]);
  const Difference changes = difference(reports.a, reports.b);
  if (args.format == OutputFormat::kJson) {
    print_json(changes);
  } else {
    print_table(changes);
  }
  return kExitOk;
}

}  // namespace moesim
