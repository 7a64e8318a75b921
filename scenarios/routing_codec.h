#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

// Private to the readers and writers of MRT files: checksums and compressed chunks.

namespace moesim {

/// How the chunks of an MRT file are stored; the numbers are the file's (routing-traces.md 1.3).
enum class MrtCodec : std::uint8_t { kNone = 0, kZstd = 1, kZlib = 2 };

/// CRC-32 with the IEEE polynomial (zlib, PNG).
[[nodiscard]] std::uint32_t crc32_of(std::span<const std::byte> bytes);

/// Unpacks `stored` into exactly `raw`; what is wrong with it, or "".
[[nodiscard]] std::string unpack_chunk(MrtCodec codec, std::span<const std::byte> stored,
                                       std::span<std::byte> raw);
/// `raw` as it is stored. `level` is the codec's own; out-of-range levels are the nearest allowed.
[[nodiscard]] std::string pack_chunk(MrtCodec codec, std::span<const std::byte> raw, int level);

/// Inflates a deflate stream without a header (a file in a zip archive) into exactly `raw`.
[[nodiscard]] bool inflate_raw(std::span<const std::byte> stored, std::span<std::byte> raw);

/// The most raw bytes that `stored` bytes of a codec can stand for: a larger claim is false, and is
/// refused before memory is taken for it.
[[nodiscard]] std::uint64_t most_raw_bytes(MrtCodec codec, std::uint64_t stored);

}  // namespace moesim
