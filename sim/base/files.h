#pragma once

#include <filesystem>
#include <string>

namespace moesim {

/// Whole content of a file; gzip and zstd are recognised by their magic bytes and unpacked. "-" is
/// standard input. Throws InputError when the file cannot be read or its packed stream is damaged
/// or ends early.
[[nodiscard]] std::string read_file(const std::filesystem::path& path);

/// Writes to a temporary file beside `path`, then renames: a reader sees the old file or the new
/// one, never half of one. "-" is standard output. Creates missing folders. Throws InputError on
/// failure.
void write_file(const std::filesystem::path& path, const std::string& content);

/// Where the shipped data (`hardware/systems`, `models/configs`) lies: $MOESIM_DATA_DIR, else
/// beside the program's install prefix (share/moesim), else the source tree it was built from.
[[nodiscard]] std::filesystem::path data_dir();

}  // namespace moesim
