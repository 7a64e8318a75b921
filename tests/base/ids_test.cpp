#include "sim/base/ids.h"

#include <doctest/doctest.h>
#include <type_traits>

using namespace moesim;

TEST_CASE("ids index their own table and no other") {
  static_assert(!std::is_convertible_v<RequestId, InstanceId>);
  static_assert(!std::is_convertible_v<int, RankId>);
  static_assert(sizeof(RequestId) == 4);
  CHECK(RequestId{} == RequestId{0});
  CHECK(RequestId{3} < RequestId{7});
  CHECK(RankId{4'000'000'000U}.index() == 4'000'000'000U);
}
