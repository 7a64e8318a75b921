#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scenarios/routing_bytes.h"
#include "scenarios/routing_codec.h"
#include "scenarios/routing_table.h"

// Private to the reader and the writer of MRT 1.0 (routing-traces.md 1.3): where everything lies.

namespace moesim {

inline constexpr std::string_view kMrtMagic = "\x89MRT\r\n\x1a\n";
inline constexpr std::uint32_t kMrtTrailerMagic = 0x4554524dU;  ///< "MRTE"
inline constexpr std::uint16_t kMrtMajor = 1;

/// Sizes of the fixed parts, bytes.
inline constexpr std::size_t kMrtHeader = 128, kMrtSequence = 32, kMrtChunk = 40, kMrtTrailer = 16;
/// Before the counts of a step row: time, prefill tokens, decode tokens, flags, 4 zero bytes.
inline constexpr std::size_t kMrtStepHead = 24;
/// Where chunks start: at multiples of this, so that a plain file can be mapped.
inline constexpr std::uint64_t kMrtPage = 4096, kMrtWord = 8;

enum class MrtMode : std::uint8_t { kPerToken = 1, kStepLoad = 2 };
enum MrtFlag : std::uint32_t {
  kMrtRanked = 1,
  kMrtPhysical = 4,
  kMrtSequences = 8,
  kMrtDecodeOnly = 16
};

/// A part of the file.
struct MrtRange {
  std::uint64_t offset = 0, size = 0;
};

struct MrtLayout {
  MrtMode mode = MrtMode::kPerToken;
  MrtCodec codec = MrtCodec::kNone;
  int cell_bytes = 1;  ///< of an id, or of a count
  std::uint32_t flags = 0;
  RoutingShape shape;
  int shared_experts = 0;
  std::uint64_t rows = 0, sequences = 0;
  std::uint32_t rows_per_chunk = 0;
  MrtRange metadata, sequence_table, index;

  struct Chunk {
    std::uint64_t offset = 0, stored = 0, raw = 0;  ///< bytes
    std::uint64_t first_row = 0;
    std::uint32_t rows = 0, crc = 0;
  };
  std::vector<Chunk> chunks;

  /// Bytes of a row of either mode.
  [[nodiscard]] std::uint64_t row_bytes() const;
};

/// Reads and checks the header, the ranges and the chunk index; no chunk is touched. Throws
/// InputError with everything wrong that can be told apart.
[[nodiscard]] MrtLayout read_mrt_layout(const FileBytes& file);

/// Little-endian numbers, wherever they lie.
template <class T>
[[nodiscard]] T load_le(const std::byte* at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value |= std::to_integer<std::uint64_t>(at[i]) << (8 * i);
  return static_cast<T>(value);
}
template <class T>
void append_le(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff));
}

}  // namespace moesim
