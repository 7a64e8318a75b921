#pragma once

#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/reference/step_table.h"

namespace moesim::reference {

/// A hand-worked step table: what the situation changes, and the lines it should give.
struct StepCase {
  std::string why;
  void (*change)(Situation&);
  std::vector<std::string> expect;
};

inline std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

/// `prepare` is what all cases of a file start from; it may be null.
inline void check(const std::vector<StepCase>& cases, void (*prepare)(Situation&) = nullptr) {
  for (const StepCase& c : cases) {
    INFO(c.why);
    Situation situation;
    if (prepare != nullptr) prepare(situation);
    c.change(situation);
    CHECK(joined(step_table(situation)) == joined(c.expect));
  }
}

}  // namespace moesim::reference
