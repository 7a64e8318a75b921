#include <cmath>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>

#include "scenarios/importer.h"
#include "scenarios/routing_load_table.h"
#include "scenarios/routing_trace.h"
#include "scenarios/trace_text.h"
#include "sim/base/files.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

using nlohmann::json;

/// Loads by layer and expert, in any of the forms people keep them: a CSV layer,expert,count; a
/// matrix [layer][expert] as CSV without a header or as JSON, as EPLB's `weight`.
class ExpertLoads final : public Importer {
 public:
  Result convert(const std::vector<std::filesystem::path>& inputs) const override {
    if (inputs.empty() || inputs.size() > 2)
      refuse_file("expert_loads", "", "this importer reads one table",
                  "give a config.json (if there is one), then the table");
    const std::filesystem::path config = inputs.size() == 2 ? inputs[0] : "";
    const std::string content = read_file(inputs.back()), file = inputs.back().string();
    Result result;
    LoadTable table;
    const std::size_t begin = std::min(content.find_first_not_of(" \t\r\n"), content.size());
    if (content.substr(begin, 1) == "[" || content.substr(begin, 1) == "{") {
      add_json(content, file, table);
    } else if (content.find("expert") == std::string::npos) {
      add_matrix(content, file, table);
    } else {
      table.add_csv(content, file, {"layer", "expert", "count"});
    }
    const StepLoads loads = table.loads(config, file);
    for (const std::string& column : table.ignored())
      result.notes.push_back("rows that differ in '" + column + "' are added up");
    if (config.empty()) result.notes.push_back("no config.json: top_k taken as 1");
    result.files.emplace_back("", write_routing_csv(loads));
    return result;
  }

 private:
  static std::uint64_t whole(double value, const std::string& file, const std::string& where) {
    constexpr double kMost = 4294967295.0;
    if (!(value >= 0) || value > kMost || value != std::floor(value))
      refuse_file(file, where, "is no count", "whole numbers from 0 to 4294967295");
    return static_cast<std::uint64_t>(value);
  }

  static void add_json(const std::string& content, const std::string& file, LoadTable& table) {
    json matrix = json::parse(content, nullptr, false);
    if (matrix.is_object()) matrix = matrix.value("weight", json());
    const auto refuse = [&] {
      refuse_file(file, "", "is no matrix of counts",
                  "[[counts of layer 0], [counts of layer 1], ...], or an object with it at "
                  "\"weight\"");
    };
    if (!matrix.is_array() || matrix.empty()) refuse();
    for (std::size_t layer = 0; layer < matrix.size(); ++layer) {
      if (!matrix[layer].is_array() || matrix[layer].size() != matrix[0].size()) refuse();
      for (std::size_t expert = 0; expert < matrix[layer].size(); ++expert) {
        if (!matrix[layer][expert].is_number()) refuse();
        table.add(layer, expert,
                  whole(matrix[layer][expert].get<double>(), file,
                        fmt::format("layer {}, expert {}", layer, expert)));
      }
    }
  }

  static void add_matrix(const std::string& content, const std::string& file, LoadTable& table) {
    TraceMistakes mistakes(file);
    Lines lines(content);
    std::vector<std::string_view> fields;
    std::size_t width = 0;
    for (std::uint64_t layer = 0; lines.next();) {
      if (trimmed(lines.line()).starts_with('#')) continue;
      split_csv(lines.line(), fields);
      if (layer == 0) width = fields.size();
      bool good = fields.size() == width;
      for (std::size_t expert = 0; good && expert < width; ++expert) {
        const auto count = parse_whole(fields[expert]);
        good = count.has_value();
        if (good) table.add(layer, expert, *count);
      }
      if (!good)
        mistakes.add(lines.number(), "", shown(lines.line()) + " is no row of counts",
                     "one count for every expert, the same number in all rows");
      ++layer;
    }
    mistakes.throw_if_any();
  }
};

const Register<Importer> kExpertLoads{
    "expert_loads", "counts by layer and expert (CSV or JSON, table or matrix) to step loads",
    [](Reader&) { return std::make_unique<ExpertLoads>(); }};

}  // namespace
}  // namespace moesim
