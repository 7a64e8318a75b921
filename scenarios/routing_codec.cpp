#include "scenarios/routing_codec.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <zlib.h>
#include <zstd.h>

#include "sim/base/check.h"

namespace moesim {
namespace {

const Bytef* as_zlib(const std::byte* bytes) {
  return reinterpret_cast<const Bytef*>(bytes);
}

std::string unzstd(std::span<const std::byte> stored, std::span<std::byte> raw) {
  const std::size_t size = ZSTD_decompress(raw.data(), raw.size(), stored.data(), stored.size());
  if (ZSTD_isError(size) != 0) return std::string("zstd: ") + ZSTD_getErrorName(size);
  return size == raw.size() ? "" : "zstd: unpacks to another size than the index says";
}

std::string unzlib(std::span<const std::byte> stored, std::span<std::byte> raw) {
  uLongf size = raw.size();
  const int status = ::uncompress(reinterpret_cast<Bytef*>(raw.data()), &size,
                                  as_zlib(stored.data()), stored.size());
  if (status != Z_OK) return std::string("zlib: ") + ::zError(status);
  return size == raw.size() ? "" : "zlib: unpacks to another size than the index says";
}

}  // namespace

std::uint32_t crc32_of(std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(::crc32_z(0, as_zlib(bytes.data()), bytes.size()));
}

std::string unpack_chunk(MrtCodec codec, std::span<const std::byte> stored,
                         std::span<std::byte> raw) {
  if (codec == MrtCodec::kZstd) return unzstd(stored, raw);
  if (codec == MrtCodec::kZlib) return unzlib(stored, raw);
  if (stored.size() != raw.size()) return "stored and raw size differ without compression";
  std::copy(stored.begin(), stored.end(), raw.begin());
  return "";
}

std::string pack_chunk(MrtCodec codec, std::span<const std::byte> raw, int level) {
  std::string out;
  if (codec == MrtCodec::kZstd) {
    out.resize(ZSTD_compressBound(raw.size()));
    level = std::clamp(level, 1, ZSTD_maxCLevel());
    const std::size_t size = ZSTD_compress(out.data(), out.size(), raw.data(), raw.size(), level);
    MOESIM_CHECK(ZSTD_isError(size) == 0, "a buffer of the bound's size is enough");
    out.resize(size);
  } else if (codec == MrtCodec::kZlib) {
    uLongf size = ::compressBound(raw.size());
    out.resize(size);
    const int status = ::compress2(reinterpret_cast<Bytef*>(out.data()), &size, as_zlib(raw.data()),
                                   raw.size(), std::clamp(level, 1, 9));
    MOESIM_CHECK(status == Z_OK, "a buffer of the bound's size is enough");
    out.resize(size);
  } else {
    out.assign(reinterpret_cast<const char*>(raw.data()), raw.size());
  }
  return out;
}

bool inflate_raw(std::span<const std::byte> stored, std::span<std::byte> raw) {
  constexpr int kWithoutHeader = -15;  // zlib.h: 32 KiB window, raw
  constexpr std::size_t kMost = std::numeric_limits<uInt>::max();
  if (stored.size() > kMost || raw.size() > kMost) return false;
  z_stream stream{};
  if (::inflateInit2(&stream, kWithoutHeader) != Z_OK) return false;
  // zlib's interface is not const-correct; it does not write here.
  stream.next_in = const_cast<Bytef*>(as_zlib(stored.data()));
  stream.avail_in = static_cast<uInt>(stored.size());
  stream.next_out = reinterpret_cast<Bytef*>(raw.data());
  stream.avail_out = static_cast<uInt>(raw.size());
  const int status = ::inflate(&stream, Z_FINISH);
  ::inflateEnd(&stream);
  return status == Z_STREAM_END && stream.avail_out == 0;
}

std::uint64_t most_raw_bytes(MrtCodec codec, std::uint64_t stored) {
  // zlib, "Technical Details": at most 1032:1. RFC 8878: a block stands for at most 128 KiB and
  // takes at least 4 bytes (3 of header, 1 repeated).
  const std::uint64_t ratio = codec == MrtCodec::kZstd   ? 32768
                              : codec == MrtCodec::kZlib ? 1032
                                                         : 1;
  return stored > std::numeric_limits<std::uint64_t>::max() / ratio
             ? std::numeric_limits<std::uint64_t>::max()
             : stored * ratio;
}

}  // namespace moesim
