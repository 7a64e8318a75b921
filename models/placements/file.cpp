#include <algorithm>
#include <cctype>
#include <fmt/format.h>
#include <optional>
#include <utility>

#include "models/placement.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

constexpr const char* kKey = "physical_to_logical_map";
constexpr const char* kForm = "write [[0, 1, ...], ...]: one list of logical experts a layer";
constexpr std::int64_t kLargest = 65535;  // ids are 16 bit

/// A number and its place.
struct Cell {
  std::int64_t value = 0;
  int line = 0, column = 0;
};
struct Row {
  std::vector<Cell> cells;
  int line = 0, column = 0;
};

/// Reads [[...], ...] or {"physical_to_logical_map": [[...], ...]}, the form SGLang takes and dumps
/// (--init-expert-location), and remembers where each number stands.
class Scanner {
 public:
  Scanner(const std::string& text, const std::string& file) : text_(text), file_(file) {}

  std::vector<Row> read() {
    const bool keyed = take('{');
    if (keyed) {
      const std::string name = quoted();
      if (name != kKey) fail("unknown key '" + name + "'", std::string("the key is ") + kKey);
      expect(':');
    }
    std::vector<Row> rows;
    expect('[');
    if (!take(']')) {
      do {
        rows.push_back(row());
      } while (take(','));
      expect(']');
    }
    if (keyed) expect('}');
    skip_space();
    if (at_ < text_.size()) fail("more text after the end of the map", "remove it");
    return rows;
  }

 private:
  [[noreturn]] void fail(const std::string& problem, const std::string& hint) const {
    throw_input_error({{file_, line_, column()}, "placement.file", problem, hint});
  }
  [[nodiscard]] int column() const { return static_cast<int>(at_ - line_start_) + 1; }
  void skip_space() {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c != ' ' && c != '\t' && c != '\r' && c != '\n') return;
      if (c == '\n') {
        ++line_;
        line_start_ = at_ + 1;
      }
    }
  }
  bool take(char wanted) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!take(wanted)) fail(std::string("expected '") + wanted + "', found " + found(), kForm);
  }
  [[nodiscard]] std::string found() const {
    if (at_ == text_.size()) return "the end of the file";
    const auto c = static_cast<unsigned char>(text_[at_]);
    return std::isprint(c) != 0 ? std::string("'") + text_[at_] + "'" : fmt::format("byte {}", c);
  }
  std::string quoted() {
    expect('"');
    const std::size_t end = std::min(text_.find('"', at_), text_.size());
    std::string name = text_.substr(at_, end - at_);
    at_ = std::min(end + 1, text_.size());
    return name;
  }
  Row row() {
    expect('[');
    Row result{{}, line_, column() - 1};
    if (take(']')) return result;
    do {
      result.cells.push_back(cell());
    } while (take(','));
    expect(']');
    return result;
  }
  Cell cell() {
    skip_space();
    Cell result{0, line_, column()};
    const bool negative = at_ < text_.size() && text_[at_] == '-';
    if (negative) ++at_;
    const std::size_t start = at_;
    for (; at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) != 0; ++at_) {
      result.value = std::min(result.value * 10 + (text_[at_] - '0'), kLargest + 1);
    }
    if (at_ == start) fail("expected a whole number, found " + found(), kForm);
    if (at_ < text_.size() && std::string_view(".eE").find(text_[at_]) != std::string_view::npos)
      fail("expert ids are whole numbers", kForm);
    if (negative) result.value = -result.value;
    return result;
  }

  const std::string& text_;
  const std::string& file_;
  std::size_t at_ = 0, line_start_ = 0;
  int line_ = 1;
};

/// The same one in however many layers.
struct Mistake {
  Diagnostic first;
  std::size_t last_layer = 0;
  int layers = 1, times = 1;
};

/// Checks a map against a model; every mistake at once, each where it is made first.
class Checker {
 public:
  Checker(const std::string& file, const std::vector<Row>& rows, const PlacementInput& input)
      : file_(file), rows_(rows), input_(input) {}

  /// Slots of a layer.
  int run() {
    const int slots = rows_.empty() ? 0 : count(rows_.front());
    if (static_cast<int>(rows_.size()) != input_.layers) {
      fail({0, 1, 1}, "",
           fmt::format("{} layers, the model has {} with routed experts", rows_.size(),
                       input_.layers),
           "write one list for each of them");
    }
    check_slots(slots);
    for (std::size_t layer = 0; layer < rows_.size(); ++layer) check_row(layer, slots);
    throw_if_any();
    return slots;
  }

 private:
  static int count(const Row& row) { return static_cast<int>(row.cells.size()); }
  void fail(const Cell& place, const std::string& path, const std::string& problem,
            const std::string& hint) {
    const auto same = std::ranges::find_if(mistakes_, [&](const Mistake& one) {
      return one.first.problem == problem && one.first.hint == hint;
    });
    if (same == mistakes_.end()) {
      mistakes_.push_back(
          {{{file_, place.line, place.column}, "placement.file" + path, problem, hint}, layer_});
      return;
    }
    ++same->times;
    if (same->last_layer != layer_) ++same->layers;
    same->last_layer = layer_;
  }
  void throw_if_any() const {
    Diagnostics diagnostics;
    for (const Mistake& mistake : mistakes_) {
      Diagnostic one = mistake.first;
      if (mistake.times > mistake.layers) {
        one.problem += fmt::format(" ({} times, in {} layer{})", mistake.times, mistake.layers,
                                   mistake.layers > 1 ? "s" : "");
      } else if (mistake.layers > 1) {
        one.problem += fmt::format(" (in {} layers)", mistake.layers);
      }
      diagnostics.add(std::move(one));
    }
    diagnostics.throw_if_any();
  }

  void check_slots(int slots) {
    if (rows_.empty()) return;
    const Cell place{0, rows_.front().line, rows_.front().column};
    const int wanted = input_.experts + input_.redundant;
    if (slots < wanted || (input_.redundant > 0 && slots != wanted)) {
      fail(place, "[0]",
           fmt::format("{} slots, but there are {} experts{}", slots, input_.experts,
                       input_.redundant > 0 ? fmt::format(" and {} redundant", input_.redundant)
                                            : std::string()),
           fmt::format("write {} ids a layer", wanted));
    } else if (slots > input_.experts && slots % input_.ranks != 0) {
      fail(place, "[0]", fmt::format("{} slots do not divide over {} ranks", slots, input_.ranks),
           "every rank has equally many");
    }
  }

  void check_row(std::size_t layer, int slots) {
    layer_ = layer;
    const Row& row = rows_[layer];
    const std::string path = fmt::format("[{}]", layer);
    if (count(row) != slots) {
      fail({0, row.line, row.column}, path,
           fmt::format("{} slots, the first layer has {}", row.cells.size(), slots),
           "layers have equally many");
      return;
    }
    std::vector<char> seen(static_cast<std::size_t>(input_.experts), 0);
    for (std::size_t slot = 0; slot < row.cells.size(); ++slot) {
      const Cell& cell = row.cells[slot];
      if (cell.value < 0 || cell.value >= input_.experts) {
        fail(cell, fmt::format("{}[{}]", path, slot), "no such expert",
             fmt::format("ids are 0 to {}", input_.experts - 1));
      } else {
        seen[static_cast<std::size_t>(cell.value)] = 1;
      }
    }
    const auto missing = std::ranges::find(seen, 0);
    if (missing == seen.end()) return;
    fail({0, row.line, row.column}, path,
         fmt::format("{} experts have no slot, the first is {}", std::ranges::count(seen, 0),
                     missing - seen.begin()),
         "every expert needs one");
  }

  const std::string& file_;
  const std::vector<Row>& rows_;
  const PlacementInput& input_;
  std::size_t layer_ = 0;  ///< being checked
  std::vector<Mistake> mistakes_;
};

// A map from somewhere else: an engine's dump, an optimiser. Slots are numbered rank by rank.
class FromFile final : public Placement {
 public:
  explicit FromFile(std::string file)
      : file_(std::move(file)), text_(read_file(file_)), rows_(Scanner(text_, file_).read()) {
    text_.clear();
  }

  ExpertPlacement place(const PlacementInput& input) const override {
    const int slots = Checker(file_, rows_, input).run();
    ExpertPlacement out = empty_placement(input.layers, input.experts, slots, input.ranks);
    std::size_t i = 0;
    for (const Row& row : rows_) {
      for (const Cell& cell : row.cells) out.logical[i++] = static_cast<std::uint16_t>(cell.value);
    }
    return out;
  }

 private:
  std::string file_, text_;
  std::vector<Row> rows_;
};

const Register<Placement> kFromFile{"file", "a JSON file of logical experts, [layer][slot]",
                                    [](Reader& parameters) -> std::unique_ptr<Placement> {
                                      return std::make_unique<FromFile>(parameters.text("file"));
                                    }};

}  // namespace

}  // namespace moesim
