#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <unordered_map>
#include <utility>

#include "scenarios/request_trace.h"
#include "scenarios/trace_rows.h"

namespace moesim {
namespace {

enum Column : std::size_t {
  kRequestId,
  kArrival,
  kPrompt,
  kOutput,
  kSession,
  kPriority,
  kDomain,
  kSloClass,
  kColumns
};
constexpr std::array<const char*, kColumns> kNames = {
    "request_id", "arrival_s", "prompt_tokens", "output_tokens",
    "session_id", "priority",  "domain",        "slo_class"};
constexpr std::size_t kRequired = 4;
constexpr std::size_t kAbsent = ~std::size_t{0};

using Places = std::array<std::size_t, kColumns>;

/// Where each column of ours stands in the header.
Places read_header(const std::vector<std::string_view>& fields, int line, TraceMistakes& mistakes) {
  Places places;
  places.fill(kAbsent);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto known = std::ranges::find(kNames, trimmed(fields[i]));
    if (known == kNames.end()) continue;  // other columns are for other programs
    std::size_t& place = places[static_cast<std::size_t>(known - kNames.begin())];
    if (place != kAbsent) mistakes.add(line, *known, "column given twice", "remove one of the two");
    place = i;
  }
  for (std::size_t column = 0; column < kRequired; ++column) {
    if (places[column] != kAbsent) continue;
    mistakes.add(line, kNames[column], "missing column",
                 "the header names request_id, arrival_s, prompt_tokens and output_tokens");
  }
  return places;
}

class CsvReader {
 public:
  CsvReader(std::string_view text, TraceMistakes& mistakes) : text_(text), mistakes_(mistakes) {}

  TraceRows run() {
    Lines lines(text_);
    std::vector<std::string_view> fields;
    if (!lines.next()) {
      mistakes_.add(1, "", "the trace is empty", "write a header and at least one row");
      return {};
    }
    split_csv(lines.line(), fields);
    places_ = read_header(fields, lines.number(), mistakes_);
    if (mistakes_.any()) return {};
    const std::size_t columns = fields.size();
    constexpr std::size_t kBytesPerRow = 24;  // "12345,1234.123456,1234,123"
    result_.rows.reserve(text_.size() / kBytesPerRow);
    result_.has_priority = places_[kPriority] != kAbsent;
    result_.has_session = places_[kSession] != kAbsent;
    result_.has_domain = places_[kDomain] != kAbsent;
    result_.has_slo_class = places_[kSloClass] != kAbsent;
    while (lines.next()) {
      split_csv(lines.line(), fields);
      if (fields.size() == columns) {
        read_row(fields, lines.number());
      } else {
        mistakes_.add(lines.number(), "",
                      fmt::format("{} fields, the header has {}", fields.size(), columns),
                      "a row has one field a column");
      }
    }
    return std::move(result_);
  }

 private:
  void read_row(const std::vector<std::string_view>& fields, int line) {
    TraceRow row;
    row.line = line;
    row.id = fields[places_[kRequestId]];
    row.arrival_s = read_arrival(fields[places_[kArrival]], line);
    row.prompt_tokens = check_tokens(fields[places_[kPrompt]], line, kNames[kPrompt], mistakes_);
    row.output_tokens = check_tokens(fields[places_[kOutput]], line, kNames[kOutput], mistakes_);
    if (result_.has_session) row.session = trimmed(fields[places_[kSession]]);
    if (result_.has_domain) row.domain = trimmed(fields[places_[kDomain]]);
    if (result_.has_slo_class) row.slo_class = trimmed(fields[places_[kSloClass]]);
    if (result_.has_priority) row.priority = read_priority(fields[places_[kPriority]], line);
    result_.rows.push_back(row);
  }

  double read_arrival(std::string_view field, int line) {
    constexpr double kLatest = 1e9;  // 32 years of seconds; nanoseconds must fit 63 bits
    const std::optional<double> arrival = parse_number(field);
    if (!arrival || *arrival < 0 || *arrival > kLatest) {
      mistakes_.add(line, kNames[kArrival], shown(field) + " is not a time in seconds",
                    "write seconds since the first request, 0 to 1e9");
      return last_;
    }
    if (*arrival < last_) {
      mistakes_.add(line, kNames[kArrival],
                    fmt::format("{} s is before the row above, {} s", *arrival, last_),
                    "sort the rows by arrival");
    }
    return last_ = *arrival;
  }

  std::int32_t read_priority(std::string_view field, int line) {
    const std::optional<double> value = parse_number(field);
    const auto priority = static_cast<std::int32_t>(std::clamp(value.value_or(0), -1e9, 1e9));
    if (value && static_cast<double>(priority) == *value) return priority;
    mistakes_.add(line, kNames[kPriority], shown(field) + " is not a whole number",
                  "smaller is more urgent");
    return 0;
  }

  std::string_view text_;
  TraceMistakes& mistakes_;
  Places places_{};
  TraceRows result_;
  double last_ = 0;
};

/// The first line of a blocks file.
bool read_blocks_header(std::string_view line, int number, TraceRows& rows,
                        TraceMistakes& mistakes) {
  FlatObject header(line);
  bool format = false;
  bool version = false;
  std::optional<std::uint64_t> tokens;
  while (header.next()) {
    if (header.key() == "format") format = header.value() == "request-prefix-blocks";
    if (header.key() == "version") version = header.value() == "1";
    if (header.key() == "block_tokens") tokens = parse_whole(header.value());
  }
  const bool good =
      !header.failed() && format && version && tokens && *tokens >= 1 && *tokens <= kMostTokens;
  if (!good) {
    mistakes.add(
        number, "", "not the header of a blocks file, version 1",
        R"(write {"format":"request-prefix-blocks","version":1,"trace":NAME,"block_tokens":512})");
    return false;
  }
  rows.block_tokens = static_cast<std::uint32_t>(*tokens);
  return true;
}

constexpr const char* kNoBlockLine = "not a line of block ids";
constexpr const char* kBlockLineHint = R"(write {"request_id":0,"block_ids":[0,1,2]})";

/// One line of a blocks file: whose it is, and the ids appended to `ids`.
struct BlockLine {
  std::string_view request_id;
  bool good = false;
};
BlockLine read_block_line(std::string_view line, std::vector<std::uint64_t>& ids) {
  FlatObject object(line);
  BlockLine result;
  bool listed = false;
  while (object.next()) {
    if (object.key() == "request_id") result.request_id = object.value();
    if (object.key() == "block_ids") listed = parse_whole_list(object.value(), ids);
  }
  result.good = !object.failed() && listed && !result.request_id.empty();
  return result;
}

}  // namespace

std::uint32_t check_tokens(std::string_view text, int line, const char* key,
                           TraceMistakes& mistakes) {
  const std::optional<std::uint64_t> tokens = parse_whole(text);
  if (tokens && *tokens >= 1 && *tokens <= kMostTokens) return static_cast<std::uint32_t>(*tokens);
  mistakes.add(line, key, shown(text) + " is not a number of tokens",
               "write a whole number from 1 to 1e8");
  return 1;
}

void check_block_count(const TraceRow& row, std::uint32_t block_tokens, int line,
                       TraceMistakes& mistakes) {
  const std::uint32_t given = row.blocks_end - row.blocks_begin;
  const std::uint32_t needed = (row.prompt_tokens + block_tokens - 1) / block_tokens;
  if (given == needed) return;
  mistakes.add(line, "block_ids",
               fmt::format("{} block ids for {} prompt tokens", given, row.prompt_tokens),
               fmt::format("{} blocks of {} tokens make that prompt; the last may be partial",
                           needed, block_tokens));
}

TraceRows read_csv_rows(std::string_view text, TraceMistakes& mistakes) {
  return CsvReader(text, mistakes).run();
}

bool is_blocks_file(std::string_view text) {
  Lines lines(text);
  if (!lines.next()) return false;
  FlatObject first(lines.line());
  while (first.next()) {
    if (first.key() == "format") return first.value() == "request-prefix-blocks";
  }
  return false;
}

std::size_t check_blocks_file(std::string_view text, const std::string& name) {
  TraceMistakes mistakes(name);
  Lines lines(text);
  TraceRows rows;
  std::unordered_map<std::string_view, int> line_of;
  std::vector<std::uint64_t> ids;
  const bool begun =
      lines.next() && read_blocks_header(lines.line(), lines.number(), rows, mistakes);
  while (begun && lines.next()) {
    const BlockLine line = read_block_line(lines.line(), ids);
    if (!line.good) {
      mistakes.add(lines.number(), "", kNoBlockLine, kBlockLineHint);
      continue;
    }
    const auto [first, fresh] = line_of.try_emplace(line.request_id, lines.number());
    if (!fresh)
      mistakes.add(
          lines.number(), "request_id",
          fmt::format("{} stands in line {} already", shown(line.request_id), first->second),
          "one line a request");
  }
  mistakes.throw_if_any();
  return line_of.size();
}

void read_block_lines(std::string_view text, TraceRows& rows, TraceMistakes& mistakes) {
  Lines lines(text);
  if (!lines.next()) {
    mistakes.add(1, "", "the blocks file is empty", "write its header and one line a request");
    return;
  }
  if (!read_blocks_header(lines.line(), lines.number(), rows, mistakes)) return;
  constexpr std::size_t kBytesPerId = 6;
  rows.blocks.reserve(text.size() / kBytesPerId);
  std::vector<std::uint64_t> ids;
  std::size_t row = 0;
  for (; lines.next(); ++row) {
    if (row >= rows.rows.size()) {
      mistakes.add(lines.number(), "",
                   fmt::format("more lines than the trace has requests, {}", rows.rows.size()),
                   "one line a request, in the trace's order");
      return;
    }
    const BlockLine line = read_block_line(lines.line(), ids);
    TraceRow& request = rows.rows[row];
    if (!line.good) {
      mistakes.add(lines.number(), "", kNoBlockLine, kBlockLineHint);
    } else if (line.request_id != request.id) {
      mistakes.add(lines.number(), "request_id",
                   fmt::format("{} stands where the trace has {}", shown(line.request_id),
                               shown(request.id)),
                   "one line a request, in the trace's order");
    } else {
      request.blocks_begin = static_cast<std::uint32_t>(rows.blocks.size());
      rows.blocks.insert(rows.blocks.end(), ids.begin(), ids.end());
      request.blocks_end = static_cast<std::uint32_t>(rows.blocks.size());
      check_block_count(request, rows.block_tokens, lines.number(), mistakes);
    }
  }
  if (row < rows.rows.size()) {
    mistakes.add(lines.number(), "", fmt::format("{} lines for {} requests", row, rows.rows.size()),
                 "one line a request, in the trace's order");
  }
}

}  // namespace moesim
