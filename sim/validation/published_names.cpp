#include "sim/validation/published_names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <string_view>
#include <utility>

#include "hardware/system.h"
#include "models/hf_config.h"
#include "sim/base/utf8.h"

namespace moesim {
namespace {

/// Endings of checkpoint names with the same shape as the model they are named after.
constexpr std::array<std::string_view, 8> kEndings = {
    "-hf", "-v0.1", "-instruct", "-base", "-chat", "-pt", "-exp", "-thinking-2507"};

/// Endings that name the format of a checkpoint's weights, longer ones first; in NVIDIA's names
/// "FP4" is NVFP4.
using Pair = std::pair<std::string_view, std::string_view>;
constexpr std::array<Pair, 17> kFormatEndings = {{
    {"-fp8-dynamic", "fp8"},
    {"-fp8-block", "fp8_block"},
    {"-nvfp4-v2", "nvfp4"},
    {"-fp4-v2", "nvfp4"},
    {"-awq-int4", "awq_int4"},
    {"-gptq-int4", "gptq_int4"},
    {"-gptq-int8", "int8"},
    {"-fp8", "fp8"},
    {"-nvfp4", "nvfp4"},
    {"-mxfp4", "mxfp4"},
    {"-fp4", "nvfp4"},
    {"-awq", "awq_int4"},
    {"-gptq", "gptq_int4"},
    {"-int4", "gptq_int4"},
    {"-int8", "int8"},
    {"-bf16", "bf16"},
    {"-fp16", "fp16"},
}};

/// What makers put before the names others use.
constexpr std::array<std::string_view, 2> kMakers = {"ai21-", "meta-"};

/// Names that are not an id of ours less an ending.
constexpr std::array<Pair, 9> kAliases = {{
    {"mistral-nemo-12b", "mistral-nemo-base-2407"},
    {"deepseek-v3/r1", "deepseek-v3"},
    {"deepseek-v3.1", "deepseek-v3"},  // trained on; the same shapes
    {"llama-3-70b", "llama-3.1-70b"},  // shorter context; the same shapes
    {"llama-3-8b", "llama-3.1-8b"},
    {"llama-4-scout", "llama-4-scout-17b-16e"},
    {"llama-4-maverick", "llama-4-maverick-17b-128e"},
    {"qwen3-coder-480b", "qwen3-coder-480b-a35b"},
    {"minimax-m2", "minimax-m2.5"},  // the same shapes (glossary 5.1)
}};

std::string aliased(const std::string& name) {
  const auto* const alias = std::ranges::find(kAliases, name, &Pair::first);
  return alias == kAliases.end() ? name : std::string(alias->second);
}

constexpr std::size_t kDateEnding = 5;

/// Whether a name ends with the day or the month of a version: "-0324" is March 24, "-2507" July
/// 2025.
bool ends_with_date(const std::string& name) {
  if (name.size() <= kDateEnding || name[name.size() - kDateEnding] != '-') return false;
  const std::string digits = name.substr(name.size() - kDateEnding + 1);
  if (digits.find_first_not_of("0123456789") != std::string::npos) return false;
  const int first = std::atoi(digits.substr(0, 2).c_str()), last = std::atoi(&digits[2]);
  const bool day = first >= 1 && first <= 12 && last >= 1 && last <= 31;
  const bool month = first >= 23 && first <= 29 && last >= 1 && last <= 12;
  return day || month;
}

std::string without_endings(std::string name) {
  const auto cut = [&](std::string_view ending) {
    if (!name.ends_with(ending)) return false;
    name.resize(name.size() - ending.size());
    return true;
  };
  const auto cut_any = [&] {
    if (std::ranges::any_of(kEndings, cut)) return true;
    if (std::ranges::any_of(kFormatEndings, cut, &Pair::first)) return true;
    const bool date = ends_with_date(name);
    if (date) name.resize(name.size() - kDateEnding);
    return date;
  };
  while (cut_any()) {
  }
  for (const std::string_view maker : kMakers) {
    if (name.starts_with(maker)) name.erase(0, maker.size());
  }
  return name;
}

std::string last_part(const std::string& id) {
  return id.substr(id.rfind('/') + 1);
}

std::string letters_and_digits(const std::string& text) {
  std::string kept;
  for (const char c : lower_case(text)) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) kept += c;
  }
  return kept;
}

/// Words of a card's name that say nothing of which one it is.
constexpr std::array<std::string_view, 11> kEmptyWords = {
    "geforce",   "tesla",  "hbm3e",   "gddr6",  "gddr6x", "gddr7",
    "blackwell", "server", "edition", "nvidia", "hbm3"};

/// "NVIDIA H100 80GB HBM3" taken apart.
struct CardName {
  std::string name;      ///< letters and digits of what is left: "h100", "h100sxm", "rtxpro6000"
  double gigabytes = 0;  ///< 0 = not said
  bool from_driver = false;
  bool hbm3 = false;
};

/// The number of "80gb" or "80gib"; 0 for other words.
double gigabytes_of(std::string_view word) {
  if (!word.ends_with("gb") && !word.ends_with("gib")) return 0;
  double size = 0;
  const char* const end = word.data() + word.find('g');
  const auto [stop, error] = std::from_chars(word.data(), end, size);
  return error == std::errc{} && stop == end ? size : 0;
}

CardName take_apart(const std::string& published) {
  std::string text = lower_case(without_remark(published));
  std::ranges::replace_if(
      text, [](char c) { return c == '-' || c == '_'; }, ' ');
  for (const char* unit : {" gb", " gib"}) {  // "80 GB"
    const std::size_t at = text.find(unit);
    const bool size =
        at != std::string::npos && at > 0 && text[at - 1] >= '0' && text[at - 1] <= '9';
    if (size) text.erase(at, 1);
  }
  CardName card;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    card.from_driver |= word == "nvidia";
    card.hbm3 |= word == "hbm3";
    if (const double size = gigabytes_of(word); size > 0) {
      card.gigabytes = size;
    } else if (word.starts_with("sxm")) {  // "SXM5" is the socket
      card.name += "sxm";
    } else if (std::ranges::find(kEmptyWords, word) == kEmptyWords.end()) {
      card.name += letters_and_digits(word);
    }
  }
  return card;
}

/// The shipped system of these letters and digits, if its memory is as large.
std::optional<std::string> system_of(const std::string& name, double gigabytes) {
  // Vendors count GB or GiB, and leave some for error correction.
  constexpr double kTolerance = 0.12;
  for (const std::string& system : shipped_systems()) {
    if (letters_and_digits(system) != name) continue;
    const auto capacity = static_cast<double>(load_system(system, "", {}).gpu.mem_capacity.value());
    const bool differs = gigabytes > 0 && std::abs(gigabytes * 1e9 / capacity - 1) > kTolerance;
    return differs ? std::nullopt : std::optional(system);
  }
  return std::nullopt;
}

/// What the driver calls cards whose systems are named otherwise, letters and digits only.
constexpr std::array<Pair, 6> kDriverNames = {{
    {"a100sxm4", "a100_sxm"},
    {"a10080gbpcie", "a100_pcie"},
    {"h10080gbhbm3", "h100_sxm"},
    {"nvidiah100pcie", "h100_pcie"},
    {"nvidiah200", "h200_sxm"},
    {"nvidiab200", "b200_sxm"},
}};

/// When the code of a release was current (serving-semantics 0.2, "versions named here"), or, of
/// TensorRT-LLM, since when dated rows of the tables name it, candidates included.
struct Snapshot {
  std::string_view backend, date, version;
};
constexpr std::array kSnapshots = {
    Snapshot{"vllm", "2025-07-07", "0.9"},     Snapshot{"vllm", "2025-10-01", "0.11"},
    Snapshot{"vllm", "2025-12-02", "0.12"},    Snapshot{"vllm", "2026-02-11", "0.16"},
    Snapshot{"vllm", "2026-05-29", "0.21"},    Snapshot{"sglang", "2025-01-01", "0.4"},
    Snapshot{"sglang", "2025-10-01", "0.5.3"}, Snapshot{"sglang", "2026-08-01", "0.5.18"},
    Snapshot{"trtllm", "2024-04", "0.9"},      Snapshot{"trtllm", "2025-02", "0.17"},
    Snapshot{"trtllm", "2025-09", "1.0"},      Snapshot{"trtllm", "2025-10", "1.1"},
    Snapshot{"trtllm", "2026-01-23", "1.2"},   Snapshot{"trtllm", "2026-03-07", "1.3"}};

/// Whether a text continues "1.2.0" with a release candidate before the third: those still have
/// what 1.1 had around its experts (`ConfigurableMoE` came with rc3).
bool is_early_candidate(const std::string& backend, const std::string& published) {
  constexpr std::string_view kCandidate = "1.2.0rc";
  const std::string release = without_marks(published);
  if (backend != "trtllm" || !release.starts_with(kCandidate)) return false;
  return std::atoi(release.c_str() + kCandidate.size()) < 3;
}

/// "0.15.1" at the start of a text, after "~" or "v"; empty if there is none.
std::string stated_release(const std::string& published) {
  const std::string release = without_marks(published);
  std::string version = release.substr(0, release.find_first_not_of("0123456789."));
  while (version.ends_with('.')) version.pop_back();
  const bool numbered = version.find('.') != std::string::npos && is_version(version);
  return numbered ? version : "";
}

}  // namespace

std::string without_marks(const std::string& published) {
  const std::size_t begin = published.find_first_not_of("~vV ");
  return begin == std::string::npos ? "" : published.substr(begin);
}

std::optional<Release> stated_number(const std::string& published) {
  const std::string release = stated_release(published);
  return release.empty() ? std::nullopt : parse_release(release);
}

std::string without_remark(const std::string& text) {
  const std::string kept = text.substr(0, text.find_first_of("(,"));
  const std::size_t begin = kept.find_first_not_of(' ');
  if (begin == std::string::npos) return "";
  return kept.substr(begin, kept.find_last_not_of(' ') - begin + 1);
}

std::optional<std::string> shipped_model_of(const std::string& published) {
  const std::string wanted = last_part(aliased(lower_case(without_remark(published))));
  if (wanted.empty()) return std::nullopt;
  const std::vector<std::string> ids = shipped_models();
  for (const std::string& id : ids) {
    if (lower_case(last_part(id)) == wanted) return id;
  }
  const std::string bare = without_endings(aliased(without_endings(wanted)));
  for (const std::string& id : ids) {
    if (without_endings(lower_case(last_part(id))) == bare) return id;
  }
  return std::nullopt;
}

std::string format_in_name(const std::string& published) {
  const std::string name = lower_case(without_remark(published));
  const auto* const ending = std::ranges::find_if(
      kFormatEndings, [&](const Pair& format) { return name.ends_with(format.first); });
  return ending == kFormatEndings.end() ? "" : std::string(ending->second);
}

std::optional<std::string> shipped_system_of(const std::string& published) {
  const CardName card = take_apart(published);
  // The driver names the form factor of the others: "NVIDIA H200 NVL". H100 PCIe has HBM2e.
  const bool only_sxm = (card.from_driver && (card.name == "h200" || card.name == "b200")) ||
                        (card.name == "h100" && card.hbm3);
  return system_of(only_sxm ? card.name + "sxm" : card.name, card.gigabytes);
}

std::optional<std::string> likely_system_of(const std::string& published) {
  const CardName card = take_apart(published);
  return system_of(card.name + "sxm", card.gigabytes);
}

std::optional<std::string> system_named_in(const std::string& text) {
  const std::string name = letters_and_digits(text);
  const auto* const driver = std::ranges::find_if(
      kDriverNames, [&](const auto& row) { return name.find(row.first) != std::string::npos; });
  if (driver != kDriverNames.end()) return std::string(driver->second);
  std::optional<std::string> longest;
  for (const std::string& system : shipped_systems()) {
    if (name.find(letters_and_digits(system)) == std::string::npos) continue;
    if (!longest || system.size() > longest->size()) longest = system;
  }
  return longest;
}

std::string backend_of(const std::string& published) {
  const std::string name = lower_case(published);
  if (name.starts_with("vllm")) return "vllm";
  if (name.starts_with("sglang")) return "sglang";
  if (name.starts_with("tensorrt-llm") || name.starts_with("trtllm")) return "trtllm";
  return published;
}

PublishedRelease release_of(const std::string& backend, const std::string& published,
                            const std::string& date) {
  if (is_early_candidate(backend, published)) return {"1.1", false};
  const std::string stated = stated_release(published);
  if (!stated.empty()) return {stated, false};
  if (date.empty()) return {};
  PublishedRelease release;
  const std::string end = date + '~';  // of the year or month, where no more is said
  for (const Snapshot& snapshot : kSnapshots) {
    if (snapshot.backend != backend) continue;
    if (release.version.empty() || end >= snapshot.date)
      release = {std::string(snapshot.version), true};
  }
  return release;
}

}  // namespace moesim
