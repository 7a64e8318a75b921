// read_hf_config either returns a model whose counts can be computed, or throws InputError.
#include <cstddef>
#include <cstdint>
#include <string>

#include "models/hf_config.h"
#include "models/sharding.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  try {
    const moesim::ModelSpec model = moesim::read_hf_config(text, "fuzz/config.json", "fuzz");
    static_cast<void>(moesim::count_parameters(model).total());
    static_cast<void>(moesim::kv_bytes_per_token(model));
    const moesim::ShardResult result = moesim::make_shard(model, {.tp = 2, .pp = 1, .dp = 1}, 0);
    if (result.problem.empty()) static_cast<void>(moesim::weight_bytes(result.shard));
  } catch (const moesim::InputError&) {
  }
  return 0;
}
