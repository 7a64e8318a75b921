#include "sim/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace moesim {

void check_failed(const char* condition, const char* what, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: internal error: expected that %s (%s)\n", file, line, what,
               condition);
  std::abort();
}

}  // namespace moesim
