#include <algorithm>
#include <fmt/format.h>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "scenarios/routing_formats.h"
#include "scenarios/routing_metadata.h"
#include "scenarios/trace_text.h"

// Step loads as text (routing-traces.md 1.2).

namespace moesim {
namespace {

constexpr std::string_view kColumns = "step,t_us,prefill_tokens,decode_tokens,layer,expert,count";
enum Column : std::size_t { kStep, kTime, kPrefill, kDecode, kLayer, kExpert, kCount, kFields };
constexpr const char* kNames[kFields] = {"step",  "t_us",   "prefill_tokens", "decode_tokens",
                                         "layer", "expert", "count"};
/// Counts of a step, and of a trace: far beyond any model (60 layers of 384 experts make 23,040)
/// and any file of this form; stops a header that would take all memory.
constexpr std::size_t kMostCells = std::size_t{1} << 20, kMostCounts = std::size_t{1} << 32;
constexpr std::uint64_t kMost32 = std::numeric_limits<std::uint32_t>::max();

class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& name) : lines_(text), mistakes_(name) {}

  StepLoads run() {
    read_header();
    mistakes_.throw_if_any();
    while (lines_.next()) {
      if (trimmed(lines_.line()).starts_with('#')) continue;
      if (!std::exchange(columns_seen_, true)) {
        read_columns();
        mistakes_.throw_if_any();
      } else {
        read_row();
      }
    }
    end_step();
    if (loads_.steps.empty()) fail("", "no steps", "write at least one row of counts");
    mistakes_.throw_if_any();
    return std::move(loads_);
  }

 private:
  /// "key=value" of the first line.
  struct Word {
    std::string value;
    std::size_t place = 0;  ///< in the line, from 0; where it is missing, the line's start
  };
  using Words = std::map<std::string, Word>;

  [[nodiscard]] TracePlace place(std::size_t at) const {
    return {lines_.number(), lines_.column(at)};
  }
  [[nodiscard]] TracePlace place_of(Column column) const {
    return place(csv_place(lines_.line(), fields_[column]));
  }
  /// Of a field, or of the end of a line that has no such field; in the line, from 0.
  [[nodiscard]] std::size_t field_or_end(std::size_t field) const {
    return field < fields_.size() ? csv_place(lines_.line(), fields_[field]) : lines_.line().size();
  }
  /// At the start of the line, or at byte `at` of it.
  void fail(const std::string& key, std::string problem, std::string hint, std::size_t at = 0) {
    mistakes_.add(place(at), key, std::move(problem), std::move(hint));
  }
  void fail(Column column, std::string problem, std::string hint) {
    mistakes_.add(place_of(column), kNames[column], std::move(problem), std::move(hint));
  }
  void read_header();
  void read_words(Words& words);
  void read_columns();
  void read_row();
  bool begin_step(const std::uint64_t* values);
  bool check_count(const std::uint64_t* values);
  void end_step();
  [[nodiscard]] std::size_t cells() const {
    return static_cast<std::size_t>(loads_.shape.layers) *
           static_cast<std::size_t>(loads_.shape.experts);
  }

  Lines lines_;
  TraceMistakes mistakes_;
  StepLoads loads_;
  bool columns_seen_ = false;
  std::vector<std::string_view> fields_;
  std::vector<std::uint64_t> sums_;  ///< of the current step, by layer
  std::vector<TracePlace> last_;     ///< count that was added last, by layer
  TracePlace row_;                   ///< last row of the current step
  std::vector<std::uint32_t> seen_;  ///< [layer][expert] last step that named it, from 1
};

/// "# a=b c=d".
void CsvReader::read_words(Words& words) {
  std::string_view rest = trimmed(lines_.line());
  rest.remove_prefix(1);
  for (rest = trimmed(rest); !rest.empty(); rest = trimmed(rest)) {
    const std::string_view word = rest.substr(0, rest.find_first_of(" \t"));
    rest.remove_prefix(word.size());
    const auto at = static_cast<std::size_t>(word.data() - lines_.line().data());
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) {
      fail("", shown(word) + " is not key=value", "as in n_layers=58", at);
      continue;
    }
    const std::string key(word.substr(0, equals));
    if (!words.emplace(key, Word{std::string(word.substr(equals + 1)), at}).second)
      fail(key, "given twice", "remove one of the two", at);
  }
}

void CsvReader::read_header() {
  if (!lines_.next() || !trimmed(lines_.line()).starts_with('#'))
    return fail("", "is no header of a moe-routing-trace",
                "# format=moe-routing-trace version=1 mode=step_load n_layers=.. n_experts=.. "
                "top_k=..");
  Words words;
  read_words(words);
  const auto expect = [&](const char* key, const char* value) {
    const Word& word = words[key];
    if (word.value != value)
      fail(key, fmt::format("is {}, not {}", shown(word.value), value), "mend the first line",
           word.place);
  };
  expect("format", "moe-routing-trace");
  expect("version", "1");
  expect("mode", "step_load");
  bool counted = true;  // what stands for a count that is none would be a mistake of its own
  const auto count = [&](const char* key) {
    const auto value = parse_whole(words[key].value);
    if (!value || *value > static_cast<std::uint64_t>(kMostExperts)) {
      counted = false;
      fail(key, "is missing or no count", fmt::format("a whole number up to {}", kMostExperts),
           words[key].place);
      return 0;
    }
    return static_cast<int>(*value);
  };
  loads_.shape = {
      .layers = count("n_layers"), .experts = count("n_experts"), .top_k = count("top_k")};
  const Word& ids = words.try_emplace("ids", Word{"logical"}).first->second;
  if (ids.value != "logical" && ids.value != "physical")
    fail("ids", "is neither logical nor physical", "say which experts the ids name", ids.place);
  if (words.contains("sum") && words["sum"].value != "free")
    fail("sum", "is not free", "leave it out where counts add up to tokens * top_k",
         words["sum"].place);
  if (!counted) return;
  for (const ShapeProblem& one : shape_problems(loads_.shape))
    fail(one.key, one.problem, "mend the first line", words[one.key].place);
  if (mistakes_.any()) return;
  if (cells() > kMostCells)
    return fail("", fmt::format("{} counts a step", cells()), "check n_layers and n_experts");
  loads_.physical = ids.value == "physical";
  loads_.free_sum = words["sum"].value == "free";
  loads_.model = words["model"].value == "unknown" ? "" : words["model"].value;
  seen_.assign(cells(), 0);
}

void CsvReader::read_columns() {
  split_csv(lines_.line(), fields_);
  std::size_t same = 0;
  while (same < std::min<std::size_t>(fields_.size(), kFields) && fields_[same] == kNames[same])
    ++same;
  if (same == kFields && fields_.size() == kFields) return;
  fail("", shown(lines_.line()) + " are not the columns", std::string(kColumns),
       field_or_end(same));
}

void CsvReader::end_step() {
  if (loads_.steps.empty() || loads_.free_sum) return;
  const StepLoads::Step& step = loads_.steps.back();
  const std::uint64_t expected = (std::uint64_t{step.prefill_tokens} + step.decode_tokens) *
                                 static_cast<std::uint64_t>(loads_.shape.top_k);
  for (std::size_t layer = 0; layer < sums_.size(); ++layer) {
    if (sums_[layer] == expected) continue;
    mistakes_.add(last_[layer].line > 0 ? last_[layer] : row_, "count",
                  fmt::format("step {}, layer {}: counts add up to {}, not to {} = tokens * top_k",
                              step.number, layer, sums_[layer], expected),
                  "say sum=free in the first line if they are approximate");
  }
}

/// Whether the row belongs to a step in order.
bool CsvReader::begin_step(const std::uint64_t* values) {
  if (!loads_.steps.empty()) {
    const StepLoads::Step& last = loads_.steps.back();
    if (values[kStep] == last.number) {
      if (values[kTime] == last.time_us && values[kPrefill] == last.prefill_tokens &&
          values[kDecode] == last.decode_tokens)
        return true;
      fail(kStep, fmt::format("step {} has other times or tokens than above", last.number),
           "the first four columns repeat within a step");
      return false;
    }
    if (values[kStep] < last.number) {
      fail(kStep, fmt::format("{} after {}", values[kStep], last.number), "sort the rows by step");
      return false;
    }
    end_step();
  }
  if (loads_.counts.size() + cells() > kMostCounts) {
    fail(kStep, "more counts than a CSV trace may hold", "write long traces as MRT");
    mistakes_.throw_if_any();
  }
  loads_.steps.push_back({values[kTime], values[kStep],
                          static_cast<std::uint32_t>(values[kPrefill]),
                          static_cast<std::uint32_t>(values[kDecode])});
  loads_.counts.resize(loads_.counts.size() + cells(), 0);
  sums_.assign(static_cast<std::size_t>(loads_.shape.layers), 0);
  last_.assign(sums_.size(), {});
  return true;
}

/// Whether an expert has no more choices than there are tokens: a token chooses it once.
bool CsvReader::check_count(const std::uint64_t* values) {
  const std::uint64_t tokens = values[kPrefill] + values[kDecode];
  if (loads_.free_sum || values[kCount] <= tokens) return true;
  fail(kCount,
       fmt::format("expert {} has {} of {} tokens of step {}", values[kExpert], values[kCount],
                   tokens, values[kStep]),
       "a token chooses an expert once; say sum=free in the first line if counts are approximate");
  return false;
}

void CsvReader::read_row() {
  split_csv(lines_.line(), fields_);
  if (fields_.size() != kFields)
    return fail("", fmt::format("{} columns, not {}", fields_.size(), std::size_t{kFields}),
                std::string(kColumns), field_or_end(kFields));
  const std::uint64_t most[kFields] = {~std::uint64_t{0},
                                       ~std::uint64_t{0},
                                       kMost32,
                                       kMost32,
                                       static_cast<std::uint64_t>(loads_.shape.layers - 1),
                                       static_cast<std::uint64_t>(loads_.shape.experts - 1),
                                       kMost32};
  std::uint64_t values[kFields] = {};
  for (std::size_t i = 0; i < kFields; ++i) {
    const auto value = parse_whole(fields_[i]);
    if (!value || *value > most[i])
      return fail(static_cast<Column>(i), shown(fields_[i]) + " is out of range",
                  fmt::format("a whole number up to {}", most[i]));
    values[i] = *value;
  }
  if (!begin_step(values)) return;
  row_ = place_of(kStep);
  if (!check_count(values)) return;
  const auto layer = static_cast<std::size_t>(values[kLayer]);
  const std::size_t cell = layer * static_cast<std::size_t>(loads_.shape.experts) +
                           static_cast<std::size_t>(values[kExpert]);
  const auto step = static_cast<std::uint32_t>(loads_.steps.size());
  if (std::exchange(seen_[cell], step) == step)
    return fail(
        kExpert,
        fmt::format("layer {}, expert {} twice in step {}", layer, values[kExpert], values[kStep]),
        "one row for each expert");
  loads_.counts[loads_.counts.size() - cells() + cell] = static_cast<std::uint32_t>(values[kCount]);
  sums_[layer] += values[kCount];
  last_[layer] = place_of(kCount);
}

}  // namespace

StepLoads read_routing_csv(std::string_view text, const std::string& name) {
  return CsvReader(text, name).run();
}

}  // namespace moesim
