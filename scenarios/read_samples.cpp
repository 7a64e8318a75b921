#include <algorithm>
#include <fmt/format.h>

#include "scenarios/distributions.h"
#include "scenarios/trace_text.h"
#include "sim/base/files.h"

namespace moesim {
namespace {

/// Index of the column to take, or nothing after reporting why there is none.
std::optional<std::size_t> find_column(const std::vector<std::string_view>& header,
                                       const std::string& wanted, TraceMistakes& mistakes) {
  // Our traces say prompt_tokens for what a workload calls input_tokens.
  const std::string synonym = wanted == "input_tokens" ? "prompt_tokens" : wanted;
  for (std::size_t i = 0; i < header.size(); ++i) {
    const std::string_view name = trimmed(header[i]);
    if (name == wanted || name == synonym) return i;
  }
  if (header.size() == 1) return 0;
  mistakes.add(1, "", fmt::format("no column '{}'", wanted),
               "name the column so, or keep one column only");
  return std::nullopt;
}

}  // namespace

std::vector<double> read_samples(const std::filesystem::path& path, const std::string& column) {
  const std::string text = read_file(path);
  TraceMistakes mistakes(path.string());
  std::vector<double> samples;
  std::vector<std::string_view> fields;
  Lines lines(text);
  std::optional<std::size_t> index;
  while (lines.next()) {
    split_csv(lines.line(), fields);
    if (!index) {
      const bool has_header = !parse_number(fields[0]) || fields.size() > 1;
      index = has_header ? find_column(fields, column, mistakes) : 0;
      if (!index) break;
      if (has_header) continue;
    }
    const std::optional<double> value =
        *index < fields.size() ? parse_number(fields[*index]) : std::nullopt;
    if (value) {
      samples.push_back(*value);
    } else {
      mistakes.add(lines.number(), column, shown(lines.line()) + " holds no number for this column",
                   "write one number a line");
    }
  }
  if (samples.empty() && !mistakes.any())
    mistakes.add(1, "", "the file holds no values", "write one number a line");
  mistakes.throw_if_any();
  return samples;
}

}  // namespace moesim
