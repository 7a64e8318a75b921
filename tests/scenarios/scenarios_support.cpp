#include "tests/scenarios/scenarios_support.h"

#include <algorithm>
#include <atomic>
#include <sstream>
#include <unistd.h>

#include "sim/base/files.h"

namespace moesim {
namespace {

const char* const kSmall =
    "schema_version: 1\n"
    "name: test\n"
    "model: mistralai/Mixtral-8x7B-v0.1\n"
    "precision: {weights: auto}\n"
    "system:\n"
    "  nodes:\n"
    "    - {profile: a100_sxm, gpus: 2}\n"
    "engine:\n"
    "  max_num_seqs: 256\n"
    "deployment:\n"
    "  instances:\n"
    "    - {tensor_parallel_size: 2}\n"
    "workload:\n"
    "  arrival: {kind: poisson, request_rate: 2}\n"
    "  synthetic:\n"
    "    num_prompts: 100\n"
    "    input_tokens: 1000\n"
    "    output_tokens: 100\n"
    "seed: 1\n";

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool matches(const Diagnostic& found, const Expected& expected) {
  return found.where.line == expected.line && found.key == expected.key &&
         contains(found.problem, expected.problem) && contains(found.hint, expected.hint);
}

}  // namespace

std::string small_scenario() {
  return kSmall;
}

std::string with_line(int line, const std::string& text) {
  std::istringstream in(kSmall);
  std::string result;
  int number = 0;
  for (std::string current; std::getline(in, current);) {
    ++number;
    if (number == line && text.empty()) continue;
    result += number == line ? text : current;
    result += '\n';
  }
  return result;
}

Scenario load_text(const std::string& text, const std::vector<Override>& overrides) {
  return load_scenario_text(text, "test.yaml", std::filesystem::temp_directory_path(), overrides);
}

std::vector<Diagnostic> mistakes_of(const std::string& text,
                                    const std::vector<Override>& overrides) {
  try {
    static_cast<void>(load_text(text, overrides));
  } catch (const InputError& error) {
    return error.diagnostics();
  }
  return {};
}

std::string compare(const std::vector<Diagnostic>& found, const std::vector<Expected>& expected) {
  std::string result;
  std::vector<bool> used(found.size(), false);
  for (const Expected& want : expected) {
    bool hit = false;
    for (std::size_t i = 0; i < found.size() && !hit; ++i) {
      hit = !used[i] && matches(found[i], want);
      if (hit) used[i] = true;
    }
    if (!hit)
      result += std::string("missing: ") + want.key + ": " + want.problem + "; " + want.hint + "\n";
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!used[i]) result += "not expected: " + to_text(found[i]) + "\n";
    if (found[i].hint.empty()) result += "no hint: " + to_text(found[i]) + "\n";
  }
  return result;
}

Workload workload_of(const std::string& yaml, std::uint64_t seed) {
  std::istringstream in(kSmall);
  std::string text;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (number < 14 || number > 18) text += line + "\n";
    if (number == 13) text += yaml;
  }
  const Scenario scenario = load_text(text);
  return make_workload(scenario.workload, seed);
}

TempFolder::TempFolder() {
  static std::atomic<int> count{0};
  path_ = std::filesystem::temp_directory_path() /
          ("moesim-scenarios-" + std::to_string(getpid()) + "-" + std::to_string(count++));
  std::filesystem::create_directories(path_);
}

TempFolder::~TempFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::filesystem::path TempFolder::write(const std::string& name, const std::string& content) const {
  write_file(path_ / name, content);
  return path_ / name;
}

}  // namespace moesim
