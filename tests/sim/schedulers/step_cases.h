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

/// What the cases get that they should not: "" if every step table is as worked out. `prepare` is
/// what all cases of a file start from; it may be null.
inline std::string differences(const std::vector<StepCase>& cases,
                               void (*prepare)(Situation&) = nullptr) {
  std::string text;
  for (const StepCase& c : cases) {
    Situation situation;
    if (prepare != nullptr) prepare(situation);
    c.change(situation);
    const std::string got = joined(step_table(situation)), wanted = joined(c.expect);
    if (got != wanted) text += "\n" + c.why + "\ngot\n" + got + "instead of\n" + wanted;
  }
  return text;
}

}  // namespace moesim::reference
