#include <cmath>
#include <fmt/format.h>
#include <memory>
#include <tuple>

#include "scenarios/importer.h"
#include "scenarios/request_trace.h"
#include "scenarios/trace_rows.h"
#include "sim/base/files.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar (H. Hinnant,
/// "chrono-compatible low-level date algorithms", 2013).
std::int64_t days_since_1970(std::int64_t year, std::int64_t month, std::int64_t day) {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         719468;
}

/// A fixed number of digits at `at`, which moves on; nothing if they are not digits.
std::optional<std::int64_t> digits(std::string_view text, std::size_t& at, std::size_t count) {
  if (at + count > text.size()) return std::nullopt;
  const auto value = parse_whole(text.substr(at, count));
  at += count;
  return value ? std::optional(static_cast<std::int64_t>(*value)) : std::nullopt;
}

/// Nanoseconds since 1970 of "2023-11-16 18:17:03.9799600" (any number of fraction digits; a zone
/// is not expected).
std::optional<std::int64_t> parse_timestamp(std::string_view text) {
  constexpr std::string_view kShape = "0000-00-00 00:00:00";
  if (text.size() < kShape.size() || text[4] != '-' || text[7] != '-' ||
      (text[10] != ' ' && text[10] != 'T') || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  std::size_t at = 0;
  const auto field = [&](std::size_t begin, std::size_t count) {
    at = begin;
    return digits(text, at, count);
  };
  const auto year = field(0, 4), month = field(5, 2), day = field(8, 2);
  const auto hour = field(11, 2), minute = field(14, 2), second = field(17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (*month < 1 || *month > 12 || *day < 1 || *day > 31 || *hour > 23 || *minute > 59 ||
      *second > 60)
    return std::nullopt;
  double fraction = 0;
  if (at < text.size()) {
    const auto value =
        text[at] == '.' ? parse_number("0" + std::string(text.substr(at))) : std::nullopt;
    if (!value) return std::nullopt;
    fraction = *value;
  }
  const std::int64_t days = days_since_1970(*year, *month, *day);
  const std::int64_t seconds = ((days * 24 + *hour) * 60 + *minute) * 60 + *second;
  return seconds * 1'000'000'000 + std::llround(fraction * 1e9);
}

struct AzureRow {
  std::int64_t time_ns = 0;
  std::uint32_t prompt_tokens = 0;
  std::uint32_t output_tokens = 0;
};

/// A number of tokens that may be 0, or -1.
std::int64_t parse_tokens(std::string_view text) {
  const std::uint64_t tokens = parse_whole(text).value_or(kMostTokens + 1);
  return tokens <= kMostTokens ? static_cast<std::int64_t>(tokens) : -1;
}

std::optional<AzureRow> parse_row(const std::vector<std::string_view>& fields) {
  if (fields.size() != 3) return std::nullopt;
  const std::optional<std::int64_t> time = parse_timestamp(fields[0]);
  const std::int64_t prompt = parse_tokens(fields[1]);
  const std::int64_t output = parse_tokens(fields[2]);
  if (!time || prompt < 0 || output < 0) return std::nullopt;
  return AzureRow{*time, static_cast<std::uint32_t>(prompt), static_cast<std::uint32_t>(output)};
}

/// Appends files, one after the other in time, to one workload.
class AzureReader {
 public:
  void read(const std::filesystem::path& path) {
    const std::string text = read_file(path);
    TraceMistakes mistakes(path.string());
    Lines lines(text);
    std::vector<std::string_view> fields;
    if (lines.next()) split_csv(lines.line(), fields);
    const std::vector<std::string_view> header = {"TIMESTAMP", "ContextTokens", "GeneratedTokens"};
    if (fields != header) {
      mistakes.add(1, "", "not the header of an Azure LLM inference trace",
                   "the columns are TIMESTAMP,ContextTokens,GeneratedTokens");
      mistakes.throw_if_any();
    }
    while (lines.next()) {
      split_csv(lines.line(), fields);
      if (const std::optional<AzureRow> row = parse_row(fields)) {
        append(*row, lines.number(), mistakes);
      } else {
        mistakes.add(lines.number(), "", shown(lines.line()) + " is not a row of this format",
                     "rows look like 2023-11-16 18:17:03.9799600,4808,10");
      }
    }
    mistakes.throw_if_any();
  }
  [[nodiscard]] const Workload& workload() const { return workload_; }
  [[nodiscard]] std::int64_t dropped() const { return dropped_; }

 private:
  void append(const AzureRow& row, int line, TraceMistakes& mistakes) {
    if (!begun_) first_ns_ = last_ns_ = row.time_ns;
    begun_ = true;
    if (row.time_ns < last_ns_) {
      mistakes.add(line, "TIMESTAMP", "before the row above", "sort the rows by time");
    }
    last_ns_ = row.time_ns;
    if (row.prompt_tokens == 0 || row.output_tokens == 0) {
      ++dropped_;
      return;
    }
    workload_.arrival_ns.push_back(row.time_ns - first_ns_);
    workload_.prompt_tokens.push_back(row.prompt_tokens);
    workload_.output_tokens.push_back(row.output_tokens);
  }

  Workload workload_;
  std::int64_t dropped_ = 0;
  std::int64_t first_ns_ = 0, last_ns_ = 0;
  bool begun_ = false;
};

/// The public Azure LLM inference traces (2023, also used by Splitwise): CSV with TIMESTAMP,
/// ContextTokens, GeneratedTokens. Rows without tokens cannot be requests and are dropped; rows out
/// of order are an error.
class AzureLlm final : public Importer {
 public:
  Result convert(const std::vector<std::filesystem::path>& inputs) const override {
    AzureReader reader;
    for (const std::filesystem::path& input : inputs) reader.read(input);
    if (reader.workload().size() == 0) {
      refuse_file(inputs.empty() ? "azure_llm" : inputs[0].string(), "", "no requests",
                  "give a trace with rows");
    }
    Result result;
    result.files.emplace_back("", write_request_csv(reader.workload()));
    result.notes.push_back("arrivals count from the first row; no prefix identity in this format");
    if (reader.dropped() > 0) {
      result.notes.push_back(fmt::format("{} rows with 0 tokens left out", reader.dropped()));
    }
    return result;
  }
};

const Register<Importer> kAzureLlm{"azure_llm",
                                   "Azure LLM inference trace (Splitwise) CSV to our request CSV",
                                   [](Reader&) { return std::make_unique<AzureLlm>(); }};

}  // namespace
}  // namespace moesim
