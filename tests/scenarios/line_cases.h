#pragma once

#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/scenarios/scenarios_support.h"

namespace moesim {

/// The small scenario with one line replaced, and the mistakes that makes.
struct LineCase {
  const char* why;
  int line;
  const char* text;
  std::vector<Expected> expected;
};

/// What the cases report that they should not, or do not that they should; "" if all are right.
inline std::string differences(const std::vector<LineCase>& cases) {
  std::string text;
  for (const LineCase& c : cases) {
    const std::string wrong = compare(mistakes_of(with_line(c.line, c.text)), c.expected);
    if (!wrong.empty()) text += "\n" + std::string(c.why) + "\n" + wrong;
  }
  return text;
}

}  // namespace moesim
