// Any bytes are tensors or an InputError with a hint, in both forms importers read; likewise behind
// a header that lets the fuzzer reach what is described.
#include <cstddef>
#include <cstdint>
#include <string>

#include "scenarios/tensor_files.h"
#include "sim/base/check.h"
#include "sim/base/diagnostic.h"

namespace {

template <class Read>
void attempt(const Read& read) {
  try {
    static_cast<void>(read());
  } catch (const moesim::InputError& error) {
    for (const moesim::Diagnostic& diagnostic : error.diagnostics())
      MOESIM_CHECK(!diagnostic.hint.empty(), "an error says what to do");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesim;
  const std::string bytes(data, data + size);
  attempt([&] { return read_gguf(bytes, "fuzz", "counts"); });
  attempt([&] { return read_safetensors(bytes, "fuzz"); });
  const std::string head("GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0", 24);
  attempt([&] { return read_gguf(head + bytes, "fuzz", ""); });
  std::string length(8, '\0');
  length[0] = static_cast<char>(size / 2 & 0xff);
  attempt([&] { return read_safetensors(length + bytes, "fuzz"); });
  return 0;
}
