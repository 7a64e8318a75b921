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

inline void check(const std::vector<LineCase>& cases) {
  for (const LineCase& c : cases) {
    CAPTURE(std::string(c.why));
    CHECK(compare(mistakes_of(with_line(c.line, c.text)), c.expected) == "");
  }
}

}  // namespace moesim
