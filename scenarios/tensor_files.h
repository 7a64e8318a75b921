#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// Private to the importers: counts that other programs keep as tensors.

namespace moesim {

/// A tensor of a file, its numbers as they come.
struct NamedNumbers {
  std::string name;
  std::vector<double> values;
};

/// The 32-bit float tensors of a GGUF file (ggml, docs/gguf.md, versions 2 and 3; little-endian)
/// whose names end in `suffix`, in the order of the file. Throws InputError naming `file`, with the
/// offset, for anything else or if it is damaged.
[[nodiscard]] std::vector<NamedNumbers> read_gguf(std::string_view bytes, const std::string& file,
                                                  std::string_view suffix);

/// All tensors of a safetensors file (huggingface/safetensors, "Format"), which must be vectors of
/// 32- or 64-bit whole numbers, by name. Throws InputError likewise.
[[nodiscard]] std::vector<NamedNumbers> read_safetensors(std::string_view bytes,
                                                         const std::string& file);

}  // namespace moesim
