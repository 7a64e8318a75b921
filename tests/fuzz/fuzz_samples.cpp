// Any text is samples or an InputError, and what is read can be written and read again; likewise
// after a header that lets the fuzzer reach the points.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "calibrate/fit/sample_file.h"
#include "sim/base/diagnostic.h"

namespace {

void read(const std::string& text) {
  try {
    moesim::SampleFile file = moesim::read_samples(text, "fuzz.jsonl");
    const std::string written = moesim::write_samples(file);
    if (moesim::write_samples(moesim::read_samples(written, "fuzz.jsonl")) != written) std::abort();
  } catch (const moesim::InputError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  read(text);
  read("{\"rec\":\"run\",\"schema_version\":1,\"tool\":\"\"}\n" + text);
  return 0;
}
