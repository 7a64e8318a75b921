#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace moesim {

/// A place in an input. `line` and `column` are 1-based; 0 = unknown (for instance `--set`, whose
/// `file` is "--set").
struct Where {
  std::string file;
  int line = 0;
  int column = 0;
};

/// One mistake in the user's input.
struct Diagnostic {
  Where where;
  std::string key;      ///< full path of the key, e.g. "system.nodes.0.gpus"; may be empty
  std::string problem;  ///< what is wrong
  std::string hint;     ///< what to do about it; never empty in a finished diagnostic
};

/// "file:line:col: key: problem; hint", then, when the file can be read, the line and a caret.
[[nodiscard]] std::string to_text(const Diagnostic& diagnostic);

/// All mistakes found in one pass over the user's input. Crosses exactly one layer: load -> main.
class InputError : public std::runtime_error {
 public:
  explicit InputError(std::vector<Diagnostic> diagnostics);
  [[nodiscard]] const std::vector<Diagnostic>& diagnostics() const { return diagnostics_; }

 private:
  std::vector<Diagnostic> diagnostics_;
};

/// Throws InputError for a single mistake.
[[noreturn]] void throw_input_error(Diagnostic diagnostic);

/// Collects mistakes during a load; `throw_if_any` ends it.
class Diagnostics {
 public:
  void add(Diagnostic diagnostic) { list_.push_back(std::move(diagnostic)); }
  [[nodiscard]] bool empty() const { return list_.empty(); }
  [[nodiscard]] std::size_t size() const { return list_.size(); }
  /// Whether there is a mistake at the key of this full path or below it; any at all if it is
  /// empty.
  [[nodiscard]] bool any_at(const std::string& path) const;
  /// Throws InputError with everything collected, if anything was.
  void throw_if_any() const;

 private:
  std::vector<Diagnostic> list_;
};

/// "did you mean 'x'?" for the nearest of `known` by edit distance (at most a third of the length),
/// or the only one that goes on with "_" (ttft_ms for ttft), else "known: a, b, c" (at most 12
/// names, then the count).
[[nodiscard]] std::string nearest_name_hint(const std::string& name,
                                            const std::vector<std::string>& known);

}  // namespace moesim
