#include "sim/base/heap.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#if defined(__linux__) && defined(__GLIBC__)
#include <malloc.h>
#include <sys/mman.h>
#endif

namespace moesim {

#if defined(__linux__) && defined(__GLIBC__)

void prepare_heap() {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  constexpr std::size_t kLarge = 2 * kMiB;  // a large page of x86-64 and of most ARM systems
  // A run of ten thousand requests needs 6 MiB in all.
  constexpr std::size_t kFirst = 4 * kLarge;
  // Blocks beyond this are mapped by themselves and returned when freed, so that vectors which grow
  // leave no holes; what is freed below stays.
  mallopt(M_MMAP_THRESHOLD, static_cast<int>(kFirst + kMiB));
  mallopt(M_TRIM_THRESHOLD, static_cast<int>(2 * kFirst));
  void* const block = std::malloc(kFirst);
  if (block == nullptr) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(block);
  const std::uintptr_t first = (begin + kLarge - 1) / kLarge * kLarge;
  const std::uintptr_t last = (begin + kFirst) / kLarge * kLarge;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
  std::free(block);
}

#else

void prepare_heap() {}

#endif

}  // namespace moesim
