// Any bytes after a gzip header: unpacked, or InputError. The file lives in memory.
// Build with clang++ -fsanitize=fuzzer,address,undefined.

#include <cstddef>
#include <cstdint>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/base/check.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int kFile = memfd_create("fuzz_gzip", 0);
  static const std::string kPath = "/proc/self/fd/" + std::to_string(kFile);
  MOESIM_CHECK(ftruncate(kFile, 0) == 0, "the file can be emptied");
  MOESIM_CHECK(pwrite(kFile, data, size, 0) == static_cast<ssize_t>(size), "and written");
  try {
    (void)moesim::read_file(kPath);
  } catch (const moesim::InputError& error) {
    MOESIM_CHECK(!error.diagnostics().empty(), "an error says why");
  }
  return 0;
}
