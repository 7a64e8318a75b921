#include "scenarios/load_table.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <fmt/format.h>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "scenarios/routing_trace.h"
#include "sim/base/csv.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

namespace moesim {
namespace {

using Loads = std::vector<std::vector<double>>;

Loads empty_loads(const RoutingShape& shape, double value) {
  return Loads(static_cast<std::size_t>(shape.layers),
               std::vector<double>(static_cast<std::size_t>(shape.experts), value));
}

std::optional<double> number_of(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

class TableReader {
 public:
  TableReader(const CsvTable& table, const RoutingShape& shape, Diagnostics& mistakes)
      : table_(table),
        shape_(shape),
        mistakes_(mistakes),
        loads_(empty_loads(shape, 0)),
        seen_(empty_loads(shape, 0)) {}

  Loads run() {
    constexpr std::array kColumns{"layer", "expert", "count"};
    std::array<std::size_t, 3> places{};
    for (std::size_t i = 0; i < kColumns.size(); ++i) {
      const std::optional<std::size_t> place = table_.column(kColumns[i]);
      if (!place) {
        mistakes_.add({{table_.file_name(), 1, 1},
                       kColumns[i],
                       "missing column",
                       "the header names layer, expert and count; or give a step-load trace"});
      }
      places[i] = place.value_or(0);
    }
    if (!mistakes_.empty()) return loads_;
    for (const CsvRow& row : table_.rows())
      read(row.cells[places[0]], row.cells[places[1]], row.cells[places[2]]);
    return std::move(loads_);
  }

 private:
  void fail(const CsvRow::Cell& cell, const char* column, const std::string& problem,
            const std::string& hint) {
    constexpr std::size_t kMost = 20;  // mistakes: the rest are of the same kind
    if (mistakes_.size() < kMost) mistakes_.add({table_.where(cell), column, problem, hint});
  }

  std::optional<std::size_t> index(const CsvRow::Cell& cell, const char* column, int count) {
    const std::optional<double> value = number_of(cell.text);
    if (value && *value >= 0 && *value < count && *value == std::floor(*value))
      return static_cast<std::size_t>(*value);
    fail(cell, column, fmt::format("'{}' is not one of the model's {}", cell.text, count),
         fmt::format("{}s count from 0; MoE layers only", column));
    return std::nullopt;
  }

  void read(const CsvRow::Cell& layer, const CsvRow::Cell& expert, const CsvRow::Cell& count) {
    const auto l = index(layer, "layer", shape_.layers);
    const auto e = index(expert, "expert", shape_.experts);
    const std::optional<double> value = number_of(count.text);
    if (!value || *value < 0 || *value > 1e18)
      fail(count, "count", fmt::format("'{}' is not a count", count.text),
           "write a number, 0 or more");
    if (!l || !e || !value) return;
    if (std::exchange(seen_[*l][*e], 1) != 0)
      fail(layer, "layer", fmt::format("layer {}, expert {} is given twice", *l, *e),
           "keep one row");
    loads_[*l][*e] = *value;
  }

  const CsvTable& table_;
  RoutingShape shape_;
  Diagnostics& mistakes_;
  Loads loads_, seen_;
};

Loads sum_of(const StepLoads& trace, const std::string& file, const RoutingShape& shape,
             Diagnostics& mistakes) {
  Loads loads = empty_loads(shape, 0);
  if (trace.shape.layers != shape.layers || trace.shape.experts != shape.experts) {
    mistakes.add({{file, 0, 0},
                  "",
                  fmt::format("holds {} layers of {} experts, the model has {} of {}",
                              trace.shape.layers, trace.shape.experts, shape.layers, shape.experts),
                  "give a trace of this model"});
    return loads;
  }
  if (trace.physical) {
    mistakes.add({{file, 0, 0},
                  "",
                  "its ids are of stored copies, not of the model's experts",
                  "name the map of its copies: moesim routing convert --map FILE"});
    return loads;
  }
  std::size_t at = 0;
  for (std::size_t step = 0; step < trace.steps.size(); ++step) {
    for (std::vector<double>& layer : loads) {
      for (double& load : layer) load += trace.counts[at++];
    }
  }
  return loads;
}

/// A token chooses distinct experts, so some load is needed for each of its choices.
void check_used(const Loads& loads, const std::string& file, const RoutingShape& shape,
                Diagnostics& mistakes) {
  for (std::size_t layer = 0; layer < loads.size(); ++layer) {
    int used = 0;
    for (const double load : loads[layer]) used += load > 0 ? 1 : 0;
    if (used >= shape.top_k) continue;
    mistakes.add(
        {{file, 0, 0},
         "",
         fmt::format("layer {} has load on {} experts, tokens choose {}", layer, used, shape.top_k),
         "give the load of every layer"});
    return;
  }
}

}  // namespace

std::vector<std::vector<double>> read_load_table(const std::filesystem::path& path,
                                                 const RoutingShape& shape) {
  const std::string file = path.string();
  std::string content = read_file(path);
  Diagnostics mistakes;
  Loads loads;
  if (is_routing_trace(content)) {
    const RoutingTrace trace = parse_routing_trace(std::move(content), file);
    if (const auto* const steps = std::get_if<StepLoads>(&trace)) {
      loads = sum_of(*steps, file, shape, mistakes);
    } else {
      mistakes.add(
          {{file, 0, 0}, "", "holds tokens, not loads", "write kind: trace to replay them"});
    }
  } else {
    const CsvTable table = CsvTable::parse(content, file);
    loads = TableReader(table, shape, mistakes).run();
  }
  mistakes.throw_if_any();
  check_used(loads, file, shape, mistakes);
  mistakes.throw_if_any();
  return loads;
}

}  // namespace moesim
