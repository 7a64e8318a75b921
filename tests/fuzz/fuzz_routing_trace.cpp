// Any bytes are a routing trace that survives being written and read again, or an InputError with a
// hint for every mistake. Checksums would stop nearly everything, so the bytes also serve as edits
// of a good MRT file whose checksums are made right again; and as a NumPy archive.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "scenarios/routing_codec.h"
#include "scenarios/routing_import.h"
#include "scenarios/routing_mrt.h"
#include "scenarios/routing_trace.h"
#include "sim/base/check.h"
#include "sim/base/diagnostic.h"

namespace {

using namespace moesim;

void check_error(const InputError& error) {
  MOESIM_CHECK(!error.diagnostics().empty(), "an error says why");
  for (const Diagnostic& diagnostic : error.diagnostics())
    MOESIM_CHECK(!diagnostic.hint.empty(), "an error says what to do");
}

void try_trace(const std::string& bytes) {
  try {
    const RoutingTrace trace = parse_routing_trace(bytes, "fuzz");
    const std::string written = std::visit([](const auto& data) { return write_mrt(data); }, trace);
    const RoutingTrace again = parse_routing_trace(written, "fuzz");
    MOESIM_CHECK(std::visit([](const auto& data) { return write_mrt(data); }, again) == written,
                 "what we write reads back");
  } catch (const InputError& error) {
    check_error(error);
  }
}

template <class T>
void put(std::string& file, std::size_t at, T value) {
  std::string bytes;
  append_le(bytes, value);
  file.replace(at, bytes.size(), bytes);
}

std::uint32_t crc(const std::string& file, std::size_t at, std::size_t size) {
  return crc32_of(std::as_bytes(std::span(file.data() + at, size)));
}

std::size_t number(const std::string& file, std::size_t at) {
  return static_cast<std::size_t>(
      load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(file.data() + at)));
}

bool inside(const std::string& file, std::size_t at, std::size_t size) {
  return size <= file.size() && at <= file.size() - size;
}

/// Makes the checksums of an edited file right, chunks included where the index can be followed.
void seal(std::string& file) {
  const std::size_t index = number(file, 96), size = number(file, 104);
  if (inside(file, index, size) && file.size() - index - size >= kMrtTrailer) {
    for (std::size_t entry = index; entry + kMrtChunk <= index + size; entry += kMrtChunk) {
      const std::size_t at = number(file, entry), stored = number(file, entry + 8);
      if (inside(file, at, stored)) put(file, entry + 36, crc(file, at, stored));
    }
    for (std::size_t part = 0; part < 3; ++part) {
      const std::size_t at = number(file, 64 + 16 * part), length = number(file, 72 + 16 * part);
      if (inside(file, at, length)) put(file, index + size + 4 * part, crc(file, at, length));
    }
  }
  put(file, 124, crc(file, 0, 124));
}

std::string good_file() {
  RoutingTable table({.layers = 2, .experts = 5, .top_k = 2}, 5);
  for (std::uint64_t row = 0; row < 5; ++row) {
    for (int layer = 0; layer < 2; ++layer) table.set(row, layer, 1, 1 + static_cast<int>(row % 4));
  }
  table.sequences = {{0, 3, 10, 1, 0, 4, 77}, {3, 2, 0, 0, 1, 5, 78}};
  table.domains = {{0, "code/python", "code"}, {1, "math", "math"}};
  return write_mrt(table, {.codec = MrtCodec::kNone, .rows_per_chunk = 2});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(data, data + size);
  try_trace(bytes);
  // Three bytes an edit: where, from the begin or (odd) from the end, and what.
  static const std::string kGood = good_file();
  std::string edited = kGood;
  for (std::size_t i = 0; i + 2 < size; i += 3) {
    const std::size_t at = std::size_t{data[i]} | std::size_t{data[i + 1]} << 8;
    const std::size_t place = at / 2 % edited.size();
    edited[at % 2 == 0 ? place : edited.size() - 1 - place] = static_cast<char>(data[i + 2]);
  }
  seal(edited);
  try_trace(edited);
  try {
    static_cast<void>(read_npz(bytes, "fuzz"));
  } catch (const InputError& error) {
    check_error(error);
  }
  try {
    static_cast<void>(read_npy(bytes, "fuzz", "array"));
  } catch (const InputError& error) {
    check_error(error);
  }
  return 0;
}
