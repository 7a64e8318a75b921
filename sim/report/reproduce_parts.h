#pragma once

#include <fmt/format.h>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scenarios/scenario.h"

// Private to reproduce*.cpp: command lines in the making.

namespace moesim {

/// A command line in the making; `flag` adds one option.
class Command {
 public:
  explicit Command(std::string text) : text_(std::move(text)) {}
  void flag(const char* name) { text_ += fmt::format(" {}", name); }
  template <class Value>
  void flag(const char* name, const Value& value) {
    text_ += fmt::format(" {} {}", name, value);
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// A word of a command line, in quotes where a shell would take it apart.
[[nodiscard]] inline std::string word(const std::string& text) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// A number as a command line takes it.
[[nodiscard]] inline std::string number(double value) {
  return fmt::format("{:.6g}", value);
}

/// `python -m sglang.launch_server` for an instance.
[[nodiscard]] Command sglang_launch(const Scenario& scenario, const InstanceSpec& spec);
/// `trtllm-serve` for an instance; what has no flag goes into a file that `notes` writes out.
[[nodiscard]] Command trtllm_launch(const Scenario& scenario, const InstanceSpec& spec,
                                    std::vector<std::string>& notes);

/// `llama-server` for an instance whose absent experts the CPU computes, or nothing where it cannot
/// do what is asked; `notes` says what differs, or why not.
[[nodiscard]] std::optional<Command> llama_launch(const Scenario& scenario,
                                                  const InstanceSpec& spec,
                                                  std::vector<std::string>& notes);

}  // namespace moesim
