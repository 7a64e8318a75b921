#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <optional>
#include <utility>

#include "scenarios/routing_codec.h"
#include "scenarios/routing_import.h"
#include "scenarios/routing_mrt.h"
#include "scenarios/trace_text.h"

// NumPy's array files (numpy.lib.format, "Format Version 1.0" to "3.0") and the part of zip
// (PKWARE APPNOTE.TXT, 4.3) that numpy.savez writes.

namespace moesim {
namespace {

constexpr const char* kSave = "save the array with numpy.save or numpy.savez";

[[noreturn]] void refuse(const std::string& file, const std::string& what,
                         const std::string& problem) {
  refuse_file(file, what, problem, kSave);
}

template <class T>
T number_at(std::string_view bytes, std::size_t at) {
  return load_le<T>(reinterpret_cast<const std::byte*>(bytes.data()) + at);
}

/// The text after "'key':" in a header like {'descr': '<i2', 'fortran_order': False, ...}.
std::string_view header_value(std::string_view header, const std::string& key) {
  const std::size_t at = header.find("'" + key + "'");
  if (at == std::string_view::npos) return {};
  std::string_view rest = header.substr(at + key.size() + 2);
  rest.remove_prefix(std::min(rest.size(), rest.find_first_not_of(": ")));
  return rest;
}

/// "(3, 24, 4)" or "(3,)"; nothing if it is no shape.
std::optional<std::vector<std::size_t>> parse_shape(std::string_view text) {
  if (!text.starts_with('(')) return std::nullopt;
  const std::size_t end = text.find(')');
  if (end == std::string_view::npos) return std::nullopt;
  std::vector<std::size_t> shape;
  for (std::string_view rest = text.substr(1, end - 1); !rest.empty();) {
    const std::size_t comma = std::min(rest.size(), rest.find(','));
    const std::string_view item = trimmed(rest.substr(0, comma));
    rest.remove_prefix(std::min(rest.size(), comma + 1));
    if (item.empty() && trimmed(rest).empty()) break;
    const auto value = parse_whole(item);
    if (!value) return std::nullopt;
    shape.push_back(static_cast<std::size_t>(*value));
  }
  return shape;
}

std::int64_t read_item(std::string_view bytes, std::size_t at, std::size_t width, bool is_signed) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < width; ++i)
    value |= std::uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  if (is_signed && width < 8 && (value >> (8 * width - 1)) != 0)
    value |= ~std::uint64_t{0} << (8 * width);
  return static_cast<std::int64_t>(value);
}

/// One file of a zip archive, as its central directory describes it.
struct ZipEntry {
  std::string name;
  std::size_t method = 0, stored = 0, raw = 0, local = 0;
  std::uint32_t crc = 0;
};

constexpr std::size_t kEndSize = 22, kCentralSize = 46, kLocalSize = 30;
constexpr std::uint32_t kEndMagic = 0x06054b50, kCentralMagic = 0x02014b50,
                        kLocalMagic = 0x04034b50;

/// The end record lies within the last 64 KiB, which its comment may fill.
std::size_t find_end(std::string_view zip, const std::string& file) {
  constexpr std::size_t kMostComment = 65535;
  if (zip.size() < kEndSize) refuse(file, "", "is no zip archive");
  for (std::size_t at = zip.size() - kEndSize;; --at) {
    if (number_at<std::uint32_t>(zip, at) == kEndMagic) return at;
    if (at == 0 || zip.size() - at > kEndSize + kMostComment) refuse(file, "", "is no zip archive");
  }
}

std::vector<ZipEntry> read_directory(std::string_view zip, const std::string& file) {
  const std::size_t end = find_end(zip, file);
  const std::size_t count = number_at<std::uint16_t>(zip, end + 10);
  std::size_t at = number_at<std::uint32_t>(zip, end + 16);
  std::vector<ZipEntry> entries;
  for (std::size_t i = 0; i < count; ++i) {
    if (at > zip.size() || zip.size() - at < kCentralSize ||
        number_at<std::uint32_t>(zip, at) != kCentralMagic)
      refuse(file, "", "the zip directory is damaged");
    ZipEntry entry;
    entry.method = number_at<std::uint16_t>(zip, at + 10);
    entry.crc = number_at<std::uint32_t>(zip, at + 16);
    entry.stored = number_at<std::uint32_t>(zip, at + 20);
    entry.raw = number_at<std::uint32_t>(zip, at + 24);
    const std::size_t name = number_at<std::uint16_t>(zip, at + 28);
    const std::size_t more = std::size_t{number_at<std::uint16_t>(zip, at + 30)} +
                             number_at<std::uint16_t>(zip, at + 32);
    entry.local = number_at<std::uint32_t>(zip, at + 42);
    if (zip.size() - at - kCentralSize < name + more)
      refuse(file, "", "the zip directory is damaged");
    entry.name = zip.substr(at + kCentralSize, name);
    at += kCentralSize + name + more;
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::string unpack_entry(std::string_view zip, const ZipEntry& entry, const std::string& file) {
  constexpr std::size_t kStored = 0, kDeflated = 8;
  const auto damaged = [&]() { refuse(file, entry.name, "is damaged in the zip archive"); };
  if (entry.local > zip.size() || zip.size() - entry.local < kLocalSize ||
      number_at<std::uint32_t>(zip, entry.local) != kLocalMagic)
    damaged();
  const std::size_t begin = entry.local + kLocalSize +
                            number_at<std::uint16_t>(zip, entry.local + 26) +
                            number_at<std::uint16_t>(zip, entry.local + 28);
  if (begin > zip.size() || zip.size() - begin < entry.stored) damaged();
  const std::string_view stored = zip.substr(begin, entry.stored);
  std::string raw;
  if (entry.method == kStored && entry.stored == entry.raw) {
    raw = stored;
  } else if (entry.method == kDeflated) {
    if (entry.raw > most_raw_bytes(MrtCodec::kZlib, entry.stored)) damaged();
    raw.resize(entry.raw);
    if (!inflate_raw(std::as_bytes(std::span(stored.data(), stored.size())),
                     std::as_writable_bytes(std::span(raw.data(), raw.size()))))
      damaged();
  } else {
    refuse(file, entry.name, "is packed in a way numpy does not use");
  }
  if (crc32_of(std::as_bytes(std::span(raw.data(), raw.size()))) != entry.crc) damaged();
  return raw;
}

}  // namespace

IntArray read_npy(std::string_view bytes, const std::string& file, const std::string& what) {
  constexpr std::string_view kMagic = "\x93NUMPY";
  if (!bytes.starts_with(kMagic) || bytes.size() < 12) refuse(file, what, "is no NumPy array");
  const bool short_length = bytes[6] == 1;
  const std::size_t begin = short_length ? 10 : 12;
  const std::size_t length =
      short_length ? number_at<std::uint16_t>(bytes, 8) : number_at<std::uint32_t>(bytes, 8);
  if (length > bytes.size() - begin) refuse(file, what, "the NumPy header ends early");
  const std::string_view header = bytes.substr(begin, length);
  const std::string_view type = header_value(header, "descr").substr(0, 5);  // '<i2'
  const auto shape = parse_shape(header_value(header, "shape"));
  if (header_value(header, "fortran_order").starts_with("True"))
    refuse(file, what, "is in Fortran order");
  if (type.size() < 4 || (type[1] != '<' && type[1] != '|') || (type[2] != 'i' && type[2] != 'u') ||
      type[3] < '1' || type[3] > '8' || !shape)
    refuse(file, what, shown(header) + " is no array of whole numbers");
  const auto width = static_cast<std::size_t>(type[3] - '0');
  const std::size_t items = (bytes.size() - begin - length) / width;
  std::size_t expected = 1;
  for (const std::size_t n : *shape)
    expected = n > 0 && expected > items / n ? items + 1 : expected * n;
  if (expected != items) refuse(file, what, "has another size than its shape says");
  IntArray array;
  array.shape = *shape;
  array.values.reserve(items);
  for (std::size_t i = 0; i < items; ++i)
    array.values.push_back(read_item(bytes, begin + length + i * width, width, type[2] == 'i'));
  return array;
}

std::vector<std::pair<std::string, IntArray>> read_npz(std::string_view bytes,
                                                       const std::string& file) {
  std::vector<std::pair<std::string, IntArray>> arrays;
  for (const ZipEntry& entry : read_directory(bytes, file)) {
    std::string name = entry.name;
    if (name.ends_with(".npy")) name.resize(name.size() - 4);
    arrays.emplace_back(name, read_npy(unpack_entry(bytes, entry, file), file, name));
  }
  return arrays;
}

}  // namespace moesim
