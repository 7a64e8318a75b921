#include "models/op.h"

#include <doctest/doctest.h>
#include <set>
#include <string>

using namespace moesim;

TEST_CASE("every breakdown term has a name of its own") {
  std::set<std::string> names;
  for (int i = 0; i < kTermCount; ++i) names.insert(term_name(static_cast<Term>(i)));
  CHECK(names.size() == kTermCount);
  CHECK(std::string(term_name(Term::kAttention)) == "attention");
  CHECK(std::string(term_name(Term::kElementwise)) == "elementwise");
  CHECK(std::string(term_name(Term::kOverlapped)) == "overlapped");
}
