#include <algorithm>
#include <fmt/format.h>

#include "scenarios/trace_rows.h"

namespace moesim {
namespace {

/// One line as it stands, before its values are checked.
struct MooncakeLine {
  std::string_view timestamp, input, output, priority, id, session, hash_ids, domain, slo_class;
  std::string_view unmodelled;  ///< a key that would change the order of events
};

/// A name, or nothing for null.
std::string_view name_of(const FlatObject& pair) {
  const bool null = pair.kind() == FlatObject::Kind::kWord && pair.value() == "null";
  return null ? std::string_view() : pair.value();
}

/// Mooncake's keys and the synonyms of glossary 6.
void take(const FlatObject& pair, MooncakeLine& line) {
  const std::string_view key = pair.key();
  if (key == "timestamp" || key == "created_time") line.timestamp = pair.value();
  if (key == "input_length" || key == "input_tokens") line.input = pair.value();
  if (key == "output_length" || key == "output_tokens") line.output = pair.value();
  if (key == "hash_ids") line.hash_ids = pair.value();
  if (key == "request_id") line.id = name_of(pair);
  if (key == "session_id") line.session = name_of(pair);
  if (key == "domain") line.domain = name_of(pair);
  if (key == "slo_class") line.slo_class = name_of(pair);
  if (key == "priority") line.priority = pair.value();
  const bool ordering = key == "wait_for" || key == "tool_wait_ms" || key == "delay_ms";
  if (ordering && pair.value() != "0" && pair.value() != "null" && pair.value() != "[]")
    line.unmodelled = key;
}

class MooncakeReader {
 public:
  MooncakeReader(std::string_view text, std::uint32_t block_tokens, TraceMistakes& mistakes)
      : text_(text), block_tokens_(block_tokens), mistakes_(mistakes) {}

  TraceRows run() {
    Lines lines(text_);
    while (lines.next()) {
      FlatObject object(lines.line());
      MooncakeLine line;
      while (object.next()) take(object, line);
      if (object.failed()) {
        mistakes_.add(
            lines.number(), "", "not a flat JSON object",
            R"(write {"timestamp":0,"input_length":100,"output_length":10,"hash_ids":[0]})");
      } else {
        read_row(line, lines.number());
      }
    }
    if (any_blocks_) {
      result_.block_tokens = block_tokens_;
      check_blocks();
    }
    return std::move(result_);
  }

 private:
  void read_row(const MooncakeLine& line, int number) {
    if (!line.unmodelled.empty()) {
      const bool pause = line.unmodelled == "delay_ms";
      mistakes_.add(number, std::string(line.unmodelled),
                    pause ? "a pause after an earlier turn is not modelled yet: a row is sent at "
                            "its timestamp"
                          : "a request that waits for others is not modelled yet: a row is sent at "
                            "its timestamp",
                    "remove the key if the timestamps hold, else leave such rows out; "
                    "workload.synthetic has turns and think_time_s");
    }
    TraceRow row;
    row.line = number;
    row.arrival_s = read_time(line.timestamp, number);
    row.prompt_tokens = check_tokens(line.input, number, "input_length", mistakes_);
    row.output_tokens = check_tokens(line.output, number, "output_length", mistakes_);
    row.id = line.id;
    row.session = line.session;
    row.domain = line.domain;
    row.slo_class = line.slo_class;
    result_.has_slo_class = result_.has_slo_class || !line.slo_class.empty();
    result_.has_domain = result_.has_domain || !line.domain.empty();
    result_.has_session = result_.has_session || !line.session.empty();
    read_priority(line.priority, number, row);
    row.blocks_begin = static_cast<std::uint32_t>(result_.blocks.size());
    read_blocks(line.hash_ids, number);
    row.blocks_end = static_cast<std::uint32_t>(result_.blocks.size());
    result_.rows.push_back(row);
  }

  /// Milliseconds of any clock to seconds since the first row.
  double read_time(std::string_view text, int number) {
    constexpr double kLatest = 1e13;  // beyond the year 2286
    const std::optional<double> ms = parse_number(text);
    if (!ms || *ms < 0 || *ms > kLatest) {
      mistakes_.add(number, "timestamp", shown(text) + " is not a time in milliseconds",
                    "write milliseconds, 0 or more");
      return 0;
    }
    if (result_.rows.empty()) first_ms_ = last_ms_ = *ms;
    if (*ms < last_ms_) {
      mistakes_.add(number, "timestamp",
                    fmt::format("{} ms is before the row above, {} ms", *ms, last_ms_),
                    "sort the rows by time");
    }
    last_ms_ = *ms;
    return std::max(0.0, (*ms - first_ms_) / 1000);
  }

  void read_priority(std::string_view text, int number, TraceRow& row) {
    if (text.empty() || text == "null") return;
    result_.has_priority = true;
    const std::optional<double> value = parse_number(text);
    row.priority = static_cast<std::int32_t>(std::clamp(value.value_or(0), -1e9, 1e9));
    if (value && static_cast<double>(row.priority) == *value) return;
    mistakes_.add(number, "priority", shown(text) + " is not a whole number",
                  "smaller is more urgent");
  }

  void read_blocks(std::string_view text, int number) {
    if (text.empty()) return;
    if (!parse_whole_list(text, ids_)) {
      mistakes_.add(number, "hash_ids", shown(text) + " is not a list of whole numbers",
                    "write [0, 1, 2]");
      return;
    }
    any_blocks_ = any_blocks_ || !ids_.empty();
    result_.blocks.insert(result_.blocks.end(), ids_.begin(), ids_.end());
  }

  void check_blocks() {
    if (mistakes_.any()) return;
    for (const TraceRow& row : result_.rows)
      check_block_count(row, block_tokens_, row.line, mistakes_);
  }

  std::string_view text_;
  std::uint32_t block_tokens_;
  TraceMistakes& mistakes_;
  TraceRows result_;
  std::vector<std::uint64_t> ids_;
  bool any_blocks_ = false;
  double first_ms_ = 0;
  double last_ms_ = 0;
};

}  // namespace

TraceRows read_mooncake_rows(std::string_view text, std::uint32_t block_tokens,
                             TraceMistakes& mistakes) {
  return MooncakeReader(text, block_tokens, mistakes).run();
}

}  // namespace moesim
