// Any text is either a table or an InputError, and any table one of start-up memory or an
// InputError: no crash, no other exception, no sanitizer report.
#include <cstddef>
#include <cstdint>
#include <string>

#include "sim/validation/memory_rows.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  try {
    static_cast<void>(moesim::read_memory_rows(moesim::CsvTable::parse(text, "fuzz.csv")));
  } catch (const moesim::InputError&) {
  }
  // A header that reaches the cells.
  const std::string header =
      "id,gpu,model,is_moe,engine,tp,mem_fraction,max_model_len,weights_per_gpu,kv_per_gpu\n";
  try {
    static_cast<void>(moesim::read_memory_rows(moesim::CsvTable::parse(header + text, "fuzz.csv")));
  } catch (const moesim::InputError&) {
  }
  return 0;
}
