#include <algorithm>
#include <fmt/format.h>
#include <limits>
#include <utility>

#include "scenarios/routing_metadata.h"
#include "scenarios/routing_mrt.h"
#include "scenarios/trace_text.h"

namespace moesim {
namespace {

constexpr const char* kAgain = "copy the file again, or write it anew";
constexpr const char* kOther = "write the trace with a version of the format this program reads";

/// Reads the fixed parts in order; every mistake names the byte it is at.
class LayoutReader {
 public:
  explicit LayoutReader(const FileBytes& file)
      : at_(file.bytes.data()), size_(file.bytes.size()), mistakes_(file.name) {}

  MrtLayout run() {
    using Part = void (LayoutReader::*)();
    // Each part relies on the ones before it.
    for (const Part part :
         {&LayoutReader::check_identity, &LayoutReader::read_kind, &LayoutReader::read_sizes,
          &LayoutReader::read_ranges, &LayoutReader::check_trailer, &LayoutReader::read_index,
          &LayoutReader::check_overlaps}) {
      (this->*part)();
      mistakes_.throw_if_any();
    }
    return std::move(layout_);
  }

 private:
  template <class T>
  T get(std::uint64_t offset) const {
    return load_le<T>(at_ + offset);
  }
  void fail(std::uint64_t offset, std::string problem, std::string hint = kAgain) {
    mistakes_.add(0, fmt::format("byte {}", offset), std::move(problem), std::move(hint));
  }
  [[nodiscard]] std::uint32_t crc(const MrtRange& range) const {
    return crc32_of({at_ + range.offset, static_cast<std::size_t>(range.size)});
  }

  void check_identity();
  void read_kind();
  void read_sizes();
  void read_ranges();
  void check_trailer();
  void read_index();
  void check_chunk(const MrtLayout::Chunk& chunk, std::uint64_t number, std::uint64_t entry);
  void check_overlaps();

  const std::byte* at_;
  std::uint64_t size_;
  std::uint32_t chunks_ = 0;
  TraceMistakes mistakes_;
  MrtLayout layout_;
};

void LayoutReader::check_identity() {
  if (size_ < kMrtHeader)
    return fail(size_, fmt::format("the file ends inside its header of {} bytes", kMrtHeader));
  if (std::string_view(reinterpret_cast<const char*>(at_), kMrtMagic.size()) != kMrtMagic)
    return fail(0, "is no MRT file", "MRT files begin with 89 4D 52 54 0D 0A 1A 0A");
  constexpr std::uint64_t kCrcAt = 124, kFileSizeAt = 112;
  if (const auto major = get<std::uint16_t>(8); major != kMrtMajor)
    return fail(8, fmt::format("MRT version {}, not {}", major, kMrtMajor), kOther);
  if (get<std::uint32_t>(kCrcAt) != crc({0, kCrcAt}))
    return fail(kCrcAt, "the header does not match its checksum");
  const auto written = get<std::uint64_t>(kFileSizeAt);
  if (written != size_)
    fail(kFileSizeAt, fmt::format("the file was written with {} bytes and has {}", written, size_));
  if (const auto header = get<std::uint32_t>(12); header != kMrtHeader)
    fail(12, fmt::format("a header of {} bytes, not {}", header, kMrtHeader), kOther);
}

void LayoutReader::read_kind() {
  const auto mode = get<std::uint8_t>(16);
  if (mode != 1 && mode != 2)
    fail(16, fmt::format("mode {}, neither 1 (per-token) nor 2 (step-load)", mode), kOther);
  layout_.mode = static_cast<MrtMode>(mode);
  layout_.cell_bytes = get<std::uint8_t>(17);
  const int narrow = mode == 1 ? 1 : 2;
  if (layout_.cell_bytes != narrow && layout_.cell_bytes != 2 * narrow)
    fail(
        17,
        fmt::format("cells of {} bytes, neither {} nor {}", layout_.cell_bytes, narrow, 2 * narrow),
        kOther);
  const auto codec = get<std::uint8_t>(18);
  if (codec > 2) fail(18, fmt::format("codec {}, not none, zstd or zlib", codec), kOther);
  layout_.codec = static_cast<MrtCodec>(codec);
  if (const auto layout = get<std::uint8_t>(19); layout != 0)
    fail(19, fmt::format("layout {}, not 0 (row-major)", layout), kOther);
  layout_.flags = get<std::uint32_t>(20);
}

void LayoutReader::read_sizes() {
  constexpr auto kMost = static_cast<std::uint32_t>(std::numeric_limits<int>::max());
  const auto count = [&](std::uint64_t offset) {
    return static_cast<int>(std::min(get<std::uint32_t>(offset), kMost));
  };
  layout_.shape = {.layers = count(24), .experts = count(28), .top_k = count(32)};
  layout_.shared_experts = count(36);
  for (const ShapeProblem& one : shape_problems(layout_.shape)) fail(24, one.problem);
  if (layout_.mode == MrtMode::kPerToken && layout_.cell_bytes == 1 && layout_.shape.experts > 256)
    fail(17, fmt::format("one byte an id is too little for {} experts", layout_.shape.experts));
  layout_.rows = get<std::uint64_t>(40);
  if (layout_.rows == 0) fail(40, "no rows", "write at least one");
  layout_.sequences = get<std::uint64_t>(48);
  layout_.rows_per_chunk = get<std::uint32_t>(56);
  if (layout_.rows_per_chunk == 0) return fail(56, "chunks of 0 rows");
  chunks_ = get<std::uint32_t>(60);
  const std::uint64_t per_chunk = layout_.rows_per_chunk;
  const std::uint64_t needed = layout_.rows / per_chunk + (layout_.rows % per_chunk != 0 ? 1 : 0);
  if (chunks_ != needed)
    fail(60, fmt::format("{} chunks; {} rows of {} a chunk make {}", chunks_, layout_.rows,
                         per_chunk, needed));
}

void LayoutReader::read_ranges() {
  const auto range = [&](std::uint64_t offset, const char* what, std::uint64_t after) {
    const MrtRange result{get<std::uint64_t>(offset), get<std::uint64_t>(offset + 8)};
    if (result.size > size_ || result.offset > size_ - result.size ||
        size_ - result.size - result.offset < after)
      fail(offset, fmt::format("the {} lies outside the file: {} bytes at {}", what, result.size,
                               result.offset));
    return result;
  };
  layout_.metadata = range(64, "metadata", 0);
  layout_.sequence_table = range(80, "sequence table", 0);
  layout_.index = range(96, "chunk index", kMrtTrailer);
  if (layout_.sequences > size_ / kMrtSequence ||
      layout_.sequence_table.size != layout_.sequences * kMrtSequence)
    fail(88, fmt::format("a table of {} bytes does not hold {} sequences",
                         layout_.sequence_table.size, layout_.sequences));
  if (((layout_.flags & kMrtSequences) != 0) != (layout_.sequences > 0))
    fail(20, "the flag for a sequence table and the number of sequences contradict each other");
  if (layout_.index.size != chunks_ * std::uint64_t{kMrtChunk})
    fail(104,
         fmt::format("an index of {} bytes does not hold {} chunks", layout_.index.size, chunks_));
}

void LayoutReader::check_trailer() {
  const std::uint64_t trailer = layout_.index.offset + layout_.index.size;
  if (get<std::uint32_t>(trailer + 12) != kMrtTrailerMagic)
    fail(trailer + 12, "no trailer after the chunk index");
  const struct {
    const char* what;
    MrtRange range;
  } parts[] = {{"metadata", layout_.metadata},
               {"sequence table", layout_.sequence_table},
               {"chunk index", layout_.index}};
  for (std::uint64_t i = 0; i < std::size(parts); ++i) {
    if (get<std::uint32_t>(trailer + 4 * i) != crc(parts[i].range))
      fail(parts[i].range.offset, fmt::format("the {} does not match its checksum", parts[i].what));
  }
}

void LayoutReader::read_index() {
  layout_.chunks.reserve(chunks_);
  for (std::uint64_t i = 0; i < chunks_; ++i) {
    const std::uint64_t entry = layout_.index.offset + i * kMrtChunk;
    MrtLayout::Chunk chunk;
    chunk.offset = get<std::uint64_t>(entry);
    chunk.stored = get<std::uint64_t>(entry + 8);
    chunk.raw = get<std::uint64_t>(entry + 16);
    chunk.first_row = get<std::uint64_t>(entry + 24);
    chunk.rows = get<std::uint32_t>(entry + 32);
    chunk.crc = get<std::uint32_t>(entry + 36);
    check_chunk(chunk, i, entry);
    layout_.chunks.push_back(chunk);
  }
}

void LayoutReader::check_chunk(const MrtLayout::Chunk& chunk, std::uint64_t number,
                               std::uint64_t entry) {
  const std::uint64_t first = number * layout_.rows_per_chunk;
  const std::uint64_t rows = std::min<std::uint64_t>(layout_.rows - first, layout_.rows_per_chunk);
  if (chunk.first_row != first || chunk.rows != rows)
    fail(entry + 24, fmt::format("chunk {} has {} rows from {}, not {} from {}", number, chunk.rows,
                                 chunk.first_row, rows, first));
  // At most 2^32 rows of 2^29 bytes: no overflow.
  if (chunk.raw != rows * layout_.row_bytes())
    fail(entry + 16, fmt::format("chunk {} has {} raw bytes; {} rows of {} make {}", number,
                                 chunk.raw, rows, layout_.row_bytes(), rows * layout_.row_bytes()));
  if (chunk.stored > size_ || chunk.offset > size_ - chunk.stored)
    return fail(entry, fmt::format("chunk {} lies outside the file: {} bytes at {}", number,
                                   chunk.stored, chunk.offset));
  const std::uint64_t unit = layout_.codec == MrtCodec::kNone ? kMrtPage : kMrtWord;
  if (chunk.offset % unit != 0)
    fail(entry,
         fmt::format("chunk {} starts at {}, no multiple of {}", number, chunk.offset, unit));
  if (chunk.raw > most_raw_bytes(layout_.codec, chunk.stored) ||
      (layout_.codec == MrtCodec::kNone && chunk.raw != chunk.stored))
    fail(entry + 8, fmt::format("chunk {}: {} stored bytes cannot stand for {}", number,
                                chunk.stored, chunk.raw));
}

void LayoutReader::check_overlaps() {
  struct Named {
    MrtRange range;
    std::string name;
  };
  std::vector<Named> parts = {
      {{0, kMrtHeader}, "the header"},
      {layout_.metadata, "the metadata"},
      {layout_.sequence_table, "the sequence table"},
      {{layout_.index.offset, layout_.index.size + kMrtTrailer}, "the chunk index"}};
  for (std::size_t i = 0; i < layout_.chunks.size(); ++i)
    parts.push_back(
        {{layout_.chunks[i].offset, layout_.chunks[i].stored}, fmt::format("chunk {}", i)});
  std::erase_if(parts, [](const Named& part) { return part.range.size == 0; });
  std::stable_sort(parts.begin(), parts.end(),
                   [](const Named& a, const Named& b) { return a.range.offset < b.range.offset; });
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const MrtRange& before = parts[i - 1].range;
    if (before.offset + before.size > parts[i].range.offset)
      fail(parts[i].range.offset,
           fmt::format("{} begins inside {}", parts[i].name, parts[i - 1].name));
  }
}

}  // namespace

std::uint64_t MrtLayout::row_bytes() const {
  const auto layers = static_cast<std::uint64_t>(shape.layers);
  const auto cell = static_cast<std::uint64_t>(cell_bytes);
  if (mode == MrtMode::kPerToken) return layers * static_cast<std::uint64_t>(shape.top_k) * cell;
  return kMrtStepHead + layers * static_cast<std::uint64_t>(shape.experts) * cell;
}

MrtLayout read_mrt_layout(const FileBytes& file) {
  return LayoutReader(file).run();
}

}  // namespace moesim
