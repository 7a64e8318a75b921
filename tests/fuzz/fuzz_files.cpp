// Any bytes as a file that is named on a command line or in a scenario and has no target of its
// own: foreign traces, models and logs (every importer), tables of kernels, placements, parameters
// of the latent-logit generator. Read, or InputError with a hint for every mistake. The first byte
// says as what; the file lives in memory.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include "calibrate/import/kernel_table.h"
#include "models/placement.h"
#include "scenarios/importer.h"
#include "scenarios/latent_parameters.h"
#include "sim/base/check.h"
#include "sim/base/diagnostic.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace {

using namespace moesim;
using ReadFile = std::function<void(const std::string&)>;

std::vector<ReadFile> all_readers() {
  std::vector<ReadFile> readers;
  for (const auto& [name, entry] : Registry<Importer>::entries()) {
    readers.emplace_back([make = entry.make](const std::string& path) {
      Diagnostics mistakes;
      const Document none = Document::parse("{}", "none");
      Reader parameters(none, mistakes);
      static_cast<void>(make(parameters)->convert({path}));
    });
  }
  readers.emplace_back([](const std::string& path) { static_cast<void>(read_kernel_table(path)); });
  readers.emplace_back([](const std::string& path) {
    static_cast<void>(make_placement({.name = "file", .file = path})
                          ->place({.layers = 2, .experts = 4, .ranks = 2}));
  });
  readers.emplace_back(
      [](const std::string& path) { static_cast<void>(read_latent_parameters(path)); });
  return readers;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int kFile = memfd_create("fuzz_files", 0);
  static const std::string kPath = "/proc/self/fd/" + std::to_string(kFile);
  static const std::vector<ReadFile> kReaders = all_readers();
  if (size == 0) return 0;
  const ssize_t rest = static_cast<ssize_t>(size - 1);
  MOESIM_CHECK(ftruncate(kFile, 0) == 0, "the file can be emptied");
  MOESIM_CHECK(pwrite(kFile, data + 1, size - 1, 0) == rest, "and written");
  try {
    kReaders[data[0] % kReaders.size()](kPath);
  } catch (const InputError& error) {
    MOESIM_CHECK(!error.diagnostics().empty(), "an error says why");
    for (const Diagnostic& diagnostic : error.diagnostics())
      MOESIM_CHECK(!diagnostic.hint.empty(), "an error says what to do");
  }
  return 0;
}
