#include "scenarios/request_trace.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "scenarios/arrival_time.h"
#include "scenarios/chain_ids.h"
#include "scenarios/trace_rows.h"
#include "sim/base/check.h"
#include "sim/base/files.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

/// "x/NAME.csv.gz" -> "x/NAME", or nothing if it is not a CSV.
std::optional<std::string> csv_stem(const fs::path& path) {
  std::string name = path.string();
  for (const std::string_view ending : {".csv.gz", ".csv"}) {
    if (!name.ends_with(ending)) continue;
    name.resize(name.size() - ending.size());
    return name;
  }
  return std::nullopt;
}

/// The blocks file beside a CSV: NAME.blocks.jsonl(.gz).
std::optional<fs::path> blocks_beside(const fs::path& path) {
  const std::optional<std::string> stem = csv_stem(path);
  if (!stem) return std::nullopt;
  for (const char* ending : {".blocks.jsonl", ".blocks.jsonl.gz"}) {
    std::error_code error;
    if (fs::is_regular_file(*stem + ending, error)) return *stem + ending;
  }
  return std::nullopt;
}

bool is_jsonl(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{';
}

/// Ids that ascend, as most traces have them, cannot repeat.
bool ids_ascend(const std::vector<TraceRow>& rows) {
  std::optional<std::uint64_t> last;
  for (const TraceRow& row : rows) {
    const std::optional<std::uint64_t> id = parse_whole(row.id);
    if (!id || (last && *id <= *last)) return false;
    last = id;
  }
  return true;
}

/// Reports and outputs know a request by its id.
void check_unique_ids(const std::vector<TraceRow>& rows, TraceMistakes& mistakes) {
  if (ids_ascend(rows)) return;
  std::unordered_map<std::string_view, int> first_line;
  first_line.reserve(rows.size());
  for (const TraceRow& row : rows) {
    if (row.id.empty()) continue;  // JSONL traces need none
    const auto [first, is_new] = first_line.try_emplace(row.id, row.line);
    if (is_new) continue;
    mistakes.add(row.line, "request_id",
                 fmt::format("{} stands in line {} already", shown(row.id), first->second),
                 "give every request an id of its own");
  }
}

/// Reads both files, or throws with every mistake of the first that has some.
TraceRows read_rows(const TraceText& text, const TraceSpec& spec) {
  if (is_blocks_file(text.trace))
    refuse_file(text.trace_name, "", "holds the block ids of a trace, not its requests",
                "name the CSV that it lies beside: NAME.blocks.jsonl is read with NAME.csv");
  TraceMistakes mistakes(text.trace_name);
  TraceRows rows;
  if (is_jsonl(text.trace)) {
    if (!text.blocks_name.empty()) {
      mistakes.add(0, "", "a JSONL trace holds its own block ids",
                   "leave workload.trace.blocks out");
    }
    rows = read_mooncake_rows(text.trace, static_cast<std::uint32_t>(spec.block_tokens), mistakes);
  } else {
    rows = read_csv_rows(text.trace, mistakes);
    if (rows.rows.empty() && !mistakes.any())
      mistakes.add(1, "", "the trace has no rows", "add requests");
  }
  check_unique_ids(rows.rows, mistakes);
  mistakes.throw_if_any();
  if (text.blocks_name.empty()) return rows;
  TraceMistakes block_mistakes(text.blocks_name);
  read_block_lines(text.blocks, rows, block_mistakes);
  if (spec.block_tokens_given && rows.block_tokens != 0 &&
      rows.block_tokens != static_cast<std::uint32_t>(spec.block_tokens)) {
    block_mistakes.add(
        1, "block_tokens",
        fmt::format("{} here, {} in the scenario", rows.block_tokens, spec.block_tokens),
        "leave workload.trace.block_tokens out");
  }
  block_mistakes.throw_if_any();
  return rows;
}

/// Rows [first, last) of the window.
struct Window {
  std::size_t first = 0, last = 0;
  [[nodiscard]] std::size_t size() const { return last - first; }
};
Window find_window(const TraceRows& rows, const TraceSpec& spec, const std::string& name) {
  const auto first_at = [&](double time_s) {
    const auto it = std::ranges::lower_bound(rows.rows, time_s, {}, &TraceRow::arrival_s);
    return static_cast<std::size_t>(it - rows.rows.begin());
  };
  const Window window{first_at(spec.start_s),
                      spec.end_s ? first_at(*spec.end_s) : rows.rows.size()};
  if (window.first < window.last) return window;
  const std::string end = spec.end_s ? fmt::format("{:g} s", *spec.end_s) : "the end";
  refuse_file(name, "workload.trace.start_s",
              fmt::format("no request arrives from {:g} s to {}", spec.start_s, end),
              fmt::format("the trace runs from {:g} to {:g} s", rows.rows.front().arrival_s,
                          rows.rows.back().arrival_s));
}

void add_sessions(const TraceRows& rows, Window window, Workload& workload) {
  std::unordered_map<std::string_view, std::uint32_t> index;
  workload.session.reserve(window.size());
  for (std::size_t i = window.first; i < window.last; ++i) {
    const std::string_view name = rows.rows[i].session;
    const auto next = static_cast<std::uint32_t>(workload.session_names.size());
    const auto [place, is_new] = index.try_emplace(name, name.empty() ? kNoSession : next);
    workload.session.push_back(place->second);
    if (is_new && !name.empty()) workload.session_names.emplace_back(name);
  }
}

/// A column with the name of a kind of request: one of few.
struct Kinds {
  const char* key;
  std::string_view TraceRow::*name;
  std::vector<std::uint16_t>& of_row;
  std::vector<std::string>& names;
};
static_assert(kNoDomain == kNoSloClass);

void add_kinds(const TraceRows& rows, Window window, const std::string& name_of_file, Kinds out) {
  constexpr std::size_t kMost = 4096;  // as many experts as a layer may have: a domain each

  std::map<std::string_view, std::uint16_t> index;
  out.of_row.reserve(window.size());
  for (std::size_t i = window.first; i < window.last; ++i) {
    const std::string_view name = rows.rows[i].*out.name;
    const auto next = static_cast<std::uint16_t>(index.size());
    const auto place = name.empty() ? index.end() : index.try_emplace(name, next).first;
    out.of_row.push_back(place == index.end() ? kNoDomain : place->second);
    if (index.size() > next) out.names.emplace_back(name);
    if (index.size() > kMost)
      refuse_file(name_of_file, out.key, fmt::format("more than {} different ones", kMost),
                  "it is a kind of request, not the request itself");
  }
}

/// Gives every request without a name its number, or the next that no other has.
void name_the_rest(std::vector<std::string>& names) {
  if (std::ranges::find(names, "") == names.end()) return;
  std::unordered_set<std::string> taken(names.begin(), names.end());
  std::size_t next = names.size();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!names[i].empty()) continue;
    names[i] = std::to_string(i);
    while (!taken.insert(names[i]).second) names[i] = std::to_string(next++);
  }
}

/// The file's request ids, unless they are the row numbers.
void add_names(const TraceRows& rows, Window window, Workload& workload) {
  bool numbered = true;
  bool named = false;
  for (std::size_t i = window.first; i < window.last; ++i) {
    const std::string_view id = rows.rows[i].id;
    named = named || !id.empty();
    numbered = numbered && id == fmt::format_int(i - window.first).c_str();
  }
  if (numbered || !named) return;
  workload.names.reserve(window.size());
  for (std::size_t i = window.first; i < window.last; ++i)
    workload.names.emplace_back(rows.rows[i].id);
  name_the_rest(workload.names);
}

void add_chains(const TraceRows& rows, Window window, Workload& workload) {
  const std::size_t blocks =
      rows.rows[window.last - 1].blocks_end - rows.rows[window.first].blocks_begin;
  ChainIds ids(window.size(), rows.blocks.size());
  workload.block_tokens = rows.block_tokens;
  workload.chain.reserve(blocks);
  workload.chain_begin.reserve(window.size() + 1);
  workload.chain_begin.push_back(0);
  const std::span<const std::uint64_t> all(rows.blocks);
  for (std::size_t i = window.first; i < window.last; ++i) {
    const TraceRow& row = rows.rows[i];
    ids.append(all.subspan(row.blocks_begin, row.blocks_end - row.blocks_begin), row.prompt_tokens,
               rows.block_tokens, workload);
  }
  workload.chain_ids = ids.size();
}

[[noreturn]] void refuse_late(const TraceRow& row, const TraceSpec& spec, const std::string& name) {
  const std::string over =
      spec.rate_scale == 1 ? "" : fmt::format(" over rate_scale {:g}", spec.rate_scale);
  throw_input_error(
      {{name, row.line, 0},
       "arrival_s",
       fmt::format("{:g} s after the start{} is later than {:g} s, 31 years",
                   row.arrival_s - spec.start_s, over, static_cast<double>(kLastArrivalNs) / 1e9),
       "times are in seconds; cut the trace with start_s and end_s, or raise rate_scale"});
}

/// Seconds with six decimals, from whole nanoseconds.
void append_seconds(std::int64_t ns, std::string& out) {
  const std::int64_t us = (ns + 500) / 1000;
  fmt::format_to(std::back_inserter(out), "{}.{:06}", us / 1'000'000, us % 1'000'000);
}

}  // namespace

Workload parse_request_trace(const TraceText& text, const TraceSpec& spec) {
  const TraceRows rows = read_rows(text, spec);
  if (spec.block_tokens_given && rows.block_tokens == 0) {
    refuse_file(text.trace_name, "workload.trace.block_tokens",
                "has no effect: the trace has no block ids", "leave it out");
  }
  if (spec.without_priority && !rows.has_priority) throw_input_error(*spec.without_priority);
  const Window window = find_window(rows, spec, text.trace_name);
  Workload workload;
  workload.arrival_ns.reserve(window.size());
  workload.prompt_tokens.reserve(window.size());
  workload.output_tokens.reserve(window.size());
  for (std::size_t i = window.first; i < window.last; ++i) {
    const TraceRow& row = rows.rows[i];
    workload.arrival_ns.push_back(arrival_ns((row.arrival_s - spec.start_s) / spec.rate_scale));
    if (workload.arrival_ns.back() > kLastArrivalNs) refuse_late(row, spec, text.trace_name);
    workload.prompt_tokens.push_back(row.prompt_tokens);
    workload.output_tokens.push_back(row.output_tokens);
    if (rows.has_priority) workload.priority.push_back(row.priority);
  }
  if (rows.has_session) add_sessions(rows, window, workload);
  if (rows.has_domain)
    add_kinds(rows, window, text.trace_name,
              {"domain", &TraceRow::domain, workload.domain, workload.domain_names});
  if (rows.has_slo_class)
    add_kinds(rows, window, text.trace_name,
              {"slo_class", &TraceRow::slo_class, workload.slo_class, workload.slo_class_names});
  add_names(rows, window, workload);
  if (rows.block_tokens > 0 && !spec.ignore_blocks) add_chains(rows, window, workload);
  workload.description = fmt::format(
      "{} requests of {}{}", window.size(), fs::path(text.trace_name).filename().string(),
      spec.rate_scale == 1 ? "" : fmt::format(", {:g} times as fast", spec.rate_scale));
  return workload;
}

Workload read_request_trace(const TraceSpec& spec) {
  TraceText text;
  text.trace_name = spec.path.string();
  text.trace = read_file(spec.path);
  if (!spec.ignore_blocks) {
    const std::optional<fs::path> blocks = spec.blocks ? spec.blocks : blocks_beside(spec.path);
    if (blocks) {
      text.blocks_name = blocks->string();
      text.blocks = read_file(*blocks);
    }
  }
  return parse_request_trace(text, spec);
}

namespace {

/// A name without what ends a field of CSV: those characters as % and two hexadecimal digits.
std::string field_of(const std::string& name) {
  std::string field;
  for (const char c : name) {
    if (c == ',' || c == '"' || c == '\n' || c == '\r')
      fmt::format_to(std::back_inserter(field), "%{:02X}", static_cast<unsigned char>(c));
    else
      field += c;
  }
  return field;
}

}  // namespace

std::string write_request_csv(const Workload& workload) {
  MOESIM_CHECK(workload.predecessor.empty() && !workload.closed_loop,
               "every request has an arrival of its own");
  const bool sessions = !workload.session.empty();
  const bool domains = !workload.domain.empty();
  const bool classes = !workload.slo_class.empty();
  const bool priorities = !workload.priority.empty();
  std::string out = "request_id,arrival_s,prompt_tokens,output_tokens";
  if (sessions) out += ",session_id";
  if (priorities) out += ",priority";
  if (domains) out += ",domain";
  if (classes) out += ",slo_class";
  out += '\n';
  for (std::size_t i = 0; i < workload.size(); ++i) {
    out += workload.names.empty() ? std::to_string(i) : field_of(workload.names[i]);
    out += ',';
    append_seconds(workload.arrival_ns[i], out);
    fmt::format_to(std::back_inserter(out), ",{},{}", workload.prompt_tokens[i],
                   workload.output_tokens[i]);
    if (sessions) out += ',' + field_of(session_name(workload, i).value_or(""));
    if (priorities) fmt::format_to(std::back_inserter(out), ",{}", workload.priority[i]);
    if (domains) {
      out += ',';
      if (workload.domain[i] != kNoDomain)
        out += field_of(workload.domain_names[workload.domain[i]]);
    }
    if (classes) {
      out += ',';
      if (workload.slo_class[i] != kNoSloClass)
        out += field_of(workload.slo_class_names[workload.slo_class[i]]);
    }
    out += '\n';
  }
  return out;
}

std::string write_blocks_jsonl(const Workload& workload, const std::string& trace_name) {
  if (workload.chain_begin.empty() || workload.block_tokens <= 0) return "";
  std::string out = fmt::format(
      R"({{"format":"request-prefix-blocks","version":1,"trace":"{}","block_tokens":{:.0f}}})",
      trace_name, workload.block_tokens);
  out += '\n';
  for (std::size_t i = 0; i < workload.size(); ++i) {
    const std::string id = workload.names.empty() ? std::to_string(i) : field_of(workload.names[i]);
    const bool number = parse_whole(id).has_value();
    fmt::format_to(std::back_inserter(out), R"({{"request_id":{},"block_ids":[)",
                   number ? id : "\"" + id + "\"");
    for (std::uint32_t e = workload.chain_begin[i]; e < workload.chain_begin[i + 1]; ++e) {
      if (e != workload.chain_begin[i]) out += ',';
      out += std::to_string(workload.chain[e].id);
    }
    out += "]}\n";
  }
  return out;
}

}  // namespace moesim
