#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

// Private to the readers of routing traces.

namespace moesim {

/// The content of a file: mapped, or held in memory.
struct FileBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> keeper;  ///< of `bytes`
  std::string name;                    ///< for messages
  bool mapped = false;
};

/// Maps a plain file whose first bytes are `magic`; everything else (gzip, standard input, another
/// kind of file) is read whole, through read_file. Throws InputError if it cannot be read.
[[nodiscard]] FileBytes open_bytes(const std::filesystem::path& path, const std::string& magic);
[[nodiscard]] FileBytes bytes_of(std::string content, const std::string& name);

}  // namespace moesim
