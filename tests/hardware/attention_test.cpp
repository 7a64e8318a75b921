#include "hardware/attention.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <set>

namespace moesim {
namespace {

TEST_CASE("pairs, keys and the longest row are those of a mask counted cell by cell") {
  for (const int queries : {1, 2, 5, 17}) {
    for (const int past : {0, 1, 4, 9, 40}) {
      for (const int window : {0, 1, 4, 16}) {
        int pairs = 0, longest = 0;
        std::set<int> keys;
        for (int q = past; q < past + queries; ++q) {
          int row = 0;
          for (int k = 0; k <= q; ++k) {
            if (window > 0 && k <= q - window) continue;
            ++row;
            keys.insert(k);
          }
          pairs += row;
          longest = std::max(longest, row);
        }
        CAPTURE(queries);
        CAPTURE(past);
        CAPTURE(window);
        CHECK(visible_pairs(queries, past, window) == pairs);
        CHECK(visible_keys(queries, past, window) == static_cast<double>(keys.size()));
        CHECK(longest_row(queries, past, window) == longest);
      }
    }
  }
}

}  // namespace
}  // namespace moesim
