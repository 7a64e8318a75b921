#include "sim/validation/published_names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "hardware/system.h"
#include "models/hf_config.h"
#include "scenarios/engine_profile.h"

namespace moesim {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return text;
}

/// Endings of checkpoint names with the same shape as the model they are named after: tuning,
/// packaging and dates.
constexpr std::array<std::string_view, 8> kEndings = {"-2507", "-hf",   "-v0.1", "-instruct",
                                                      "-base", "-chat", "-pt",   "-0528"};

/// Names that are not an id of ours less an ending.
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kAliases = {{
    {"mistral-nemo-12b", "mistral-nemo-base-2407"},
    {"deepseek-v3/r1", "deepseek-v3"},
    {"deepseek-v3.1", "deepseek-v3"},  // trained on; the same shapes
    {"llama-3-70b", "llama-3.1-70b"},  // shorter context; the same shapes
    {"llama-3-8b", "llama-3.1-8b"},
    {"llama-4-scout", "llama-4-scout-17b-16e"},
    {"llama-4-maverick", "llama-4-maverick-17b-128e"},
}};

std::string without_endings(std::string name) {
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view ending : kEndings) {
      if (!name.ends_with(ending)) continue;
      name.resize(name.size() - ending.size());
      again = true;
    }
  }
  return name;
}

std::string last_part(const std::string& id) {
  return id.substr(id.rfind('/') + 1);
}

/// The size in "h100-sxm-80gb", which it cuts off.
double take_gigabytes(std::string& card) {
  const std::size_t dash = card.rfind('-');
  if (dash == std::string::npos || !card.ends_with("gb")) return 0;
  double size = 0;
  const char* const end = card.data() + card.size() - 2;
  const auto [stop, error] = std::from_chars(card.data() + dash + 1, end, size);
  if (error != std::errc{} || stop != end) return 0;
  card.resize(dash);
  return size;
}

std::string letters_and_digits(const std::string& text) {
  std::string kept;
  for (const char c : lower(text)) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) kept += c;
  }
  return kept;
}

/// What the driver calls cards whose systems are named otherwise, letters and digits only.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kDriverNames = {{
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
  if (backend != "trtllm" || !published.starts_with(kCandidate)) return false;
  return std::atoi(published.c_str() + kCandidate.size()) < 3;
}

/// "0.15.1" at the start of a text, after "~" or "v"; empty if there is none.
std::string stated_release(const std::string& published) {
  const std::size_t begin = published.find_first_not_of("~v ");
  if (begin == std::string::npos) return "";
  std::string version =
      published.substr(begin, published.find_first_not_of("0123456789.", begin) - begin);
  while (version.ends_with('.')) version.pop_back();
  const bool numbered = version.find('.') != std::string::npos && is_version(version);
  return numbered ? version : "";
}

}  // namespace

std::string without_remark(const std::string& text) {
  const std::string kept = text.substr(0, text.find_first_of("(,"));
  const std::size_t begin = kept.find_first_not_of(' ');
  if (begin == std::string::npos) return "";
  return kept.substr(begin, kept.find_last_not_of(' ') - begin + 1);
}

std::optional<std::string> shipped_model_of(const std::string& published) {
  std::string wanted = lower(without_remark(published));
  const auto* const alias =
      std::ranges::find(kAliases, wanted, &std::pair<std::string_view, std::string_view>::first);
  if (alias != kAliases.end()) wanted = alias->second;
  wanted = last_part(wanted);
  if (wanted.empty()) return std::nullopt;
  const std::vector<std::string> ids = shipped_models();
  for (const std::string& id : ids) {
    if (lower(last_part(id)) == wanted) return id;
  }
  for (const std::string& id : ids) {
    if (without_endings(lower(last_part(id))) == without_endings(wanted)) return id;
  }
  return std::nullopt;
}

std::optional<std::string> shipped_system_of(const std::string& published) {
  std::string card = lower(without_remark(published));
  const double gigabytes = take_gigabytes(card);
  std::ranges::replace(card, '-', '_');
  const std::vector<std::string> systems = shipped_systems();
  if (std::ranges::find(systems, card) == systems.end()) return std::nullopt;
  // Vendors count GB or GiB, and leave some for error correction.
  constexpr double kTolerance = 0.12;
  const auto capacity = static_cast<double>(load_system(card, "", {}).gpu.mem_capacity.value());
  if (gigabytes > 0 && std::abs(gigabytes * 1e9 / capacity - 1) > kTolerance) return std::nullopt;
  return card;
}

std::optional<std::string> likely_system_of(const std::string& published) {
  std::string card = lower(without_remark(published));
  const std::string size = card.substr(std::min(card.rfind('-'), card.size()));
  if (take_gigabytes(card) == 0) return shipped_system_of(card + "-sxm");
  return shipped_system_of(card + "-sxm" + size);
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
  const std::string name = lower(published);
  if (name.starts_with("vllm")) return "vllm";
  if (name.starts_with("sglang")) return "sglang";
  if (name.starts_with("tensorrt-llm")) return "trtllm";
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
