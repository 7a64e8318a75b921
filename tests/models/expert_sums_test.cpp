#include "models/expert_sums.h"

#include <doctest/doctest.h>
#include <vector>

#include "sim/base/random.h"

namespace moesim {

TEST_CASE("sums over experts count every token, whole tiles and what lies above 64 and 256") {
  const std::vector<std::uint32_t> tokens = {0, 1, 16, 17, 64, 65, 256, 257, 0};
  // 16 + 16 + 32 + 64 + 80 + 256 + 272; 1 + 192 + 193; 1
  const ExpertSums sums = {7, 257, 676, 736, 386, 1};
  CHECK(expert_sums(tokens, 16) == sums);
  CHECK(expert_sums_plain(tokens, 16) == sums);
  CHECK(expert_sums(tokens, 1).padded == 676);
  CHECK(expert_sums({}, 64) == ExpertSums{});
}

TEST_CASE("the fast sums are the plain ones, whatever the number of experts") {
  Rng rng(1, "expert_sums_test");
  for (std::size_t experts = 1; experts < 70; ++experts) {
    std::vector<std::uint32_t> tokens(experts);
    for (std::uint32_t& one : tokens) one = static_cast<std::uint32_t>(rng.next() >> 54);
    CAPTURE(experts);
    CHECK(expert_sums(tokens, 64) == expert_sums_plain(tokens, 64));
  }
}

}  // namespace moesim
