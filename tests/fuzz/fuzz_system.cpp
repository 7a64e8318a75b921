// Any text is either a system or an InputError: no crash, no other exception, no sanitizer report.
#include <cstddef>
#include <cstdint>
#include <string>

#include "hardware/system.h"
#include "sim/base/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  try {
    static_cast<void>(moesim::read_system(moesim::Document::parse(text, "fuzz.yaml"), "fuzz"));
  } catch (const moesim::InputError&) {
  }
  try {
    static_cast<void>(moesim::read_links(moesim::Document::parse(text, "fuzz.yaml")));
  } catch (const moesim::InputError&) {
  }
  return 0;
}
