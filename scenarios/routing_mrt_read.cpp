#include <algorithm>
#include <atomic>
#include <bit>
#include <fmt/format.h>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "scenarios/routing_formats.h"
#include "scenarios/routing_metadata.h"
#include "scenarios/routing_mrt.h"
#include "scenarios/trace_text.h"

namespace moesim {
namespace {

constexpr const char* kAgain = "copy the file again, or write it anew";

[[noreturn]] void refuse(const std::string& file, std::uint64_t offset,
                         const std::string& problem) {
  refuse_file(file, fmt::format("byte {}", offset), problem, kAgain);
}

/// Ids of a (row, layer) are experts, and none comes twice.
class IdCheck {
 public:
  explicit IdCheck(const RoutingShape& shape)
      : shape_(shape), seen_(static_cast<std::size_t>(shape.experts), 0) {}

  /// The first bad cell of `rows` rows, and what is wrong with it; "" if none is.
  std::string run(const std::byte* cells, int cell_bytes, std::uint64_t first_row,
                  std::uint64_t rows) {
    return cell_bytes == 1 ? check<std::uint8_t>(cells, first_row, rows)
                           : check<std::uint16_t>(cells, first_row, rows);
  }

 private:
  template <class Cell>
  std::string check(const std::byte* at, std::uint64_t first_row, std::uint64_t rows) {
    const auto experts = static_cast<std::uint32_t>(shape_.experts);
    for (std::uint64_t row = first_row; row < first_row + rows; ++row) {
      for (int layer = 0; layer < shape_.layers; ++layer) {
        ++mark_;
        for (int rank = 0; rank < shape_.top_k; ++rank, at += sizeof(Cell)) {
          const std::uint32_t id = load_le<Cell>(at);
          if (id >= experts)
            return fmt::format("row {}, layer {}: expert {} of {}", row, layer, id, experts);
          if (std::exchange(seen_[id], mark_) == mark_)
            return fmt::format("row {}, layer {}: expert {} twice", row, layer, id);
        }
      }
    }
    return "";
  }

  RoutingShape shape_;
  std::vector<std::uint64_t> seen_;  ///< the last (row, layer) an expert was seen in
  std::uint64_t mark_ = 0;
};

/// Throws unless the raw bytes of a chunk are what was written, and ids.
void check_raw(const MrtLayout& layout, const MrtLayout::Chunk& chunk, const std::byte* raw,
               const std::string& file) {
  if (crc32_of({raw, static_cast<std::size_t>(chunk.raw)}) != chunk.crc)
    refuse(file, chunk.offset,
           fmt::format("rows {} to {} do not match their checksum", chunk.first_row,
                       chunk.first_row + chunk.rows - 1));
  if (layout.mode != MrtMode::kPerToken) return;
  IdCheck ids(layout.shape);
  const std::string problem = ids.run(raw, layout.cell_bytes, chunk.first_row, chunk.rows);
  if (!problem.empty()) refuse(file, chunk.offset, problem);
}

/// Chunks of a mapped file, each checked when one of its rows is first asked for.
class MappedCheck final : public RowCheck {
 public:
  MappedCheck(MrtLayout layout, const FileBytes& file)
      : layout_(std::move(layout)),
        file_(file),
        done_(std::make_unique<std::atomic<bool>[]>(layout_.chunks.size())) {}

  void check(std::uint64_t first, std::uint64_t count) const override {
    if (count == 0) return;
    const std::uint64_t last = (first + count - 1) / layout_.rows_per_chunk;
    for (std::uint64_t i = first / layout_.rows_per_chunk; i <= last; ++i) {
      if (done_[i].load(std::memory_order_acquire)) continue;
      const MrtLayout::Chunk& chunk = layout_.chunks[i];
      check_raw(layout_, chunk, file_.bytes.data() + chunk.offset, file_.name);
      done_[i].store(true, std::memory_order_release);
    }
  }

 private:
  MrtLayout layout_;
  FileBytes file_;
  std::unique_ptr<std::atomic<bool>[]> done_;
};

/// Whether rows are found by arithmetic from the first chunk on, in cells a table has.
bool can_be_mapped(const MrtLayout& layout, const FileBytes& file) {
  const bool same_cells = layout.cell_bytes == (layout.shape.experts <= 256 ? 1 : 2);
  if (!file.mapped || layout.codec != MrtCodec::kNone || !same_cells) return false;
  if (layout.cell_bytes == 2 && std::endian::native != std::endian::little) return false;
  std::uint64_t expected = layout.chunks.front().offset;
  for (const MrtLayout::Chunk& chunk : layout.chunks) {
    if (chunk.offset != expected) return false;
    expected += chunk.raw;
  }
  return true;
}

/// The raw bytes of a chunk, checked, in `buffer`.
const std::vector<std::byte>& unpacked(const MrtLayout& layout, const MrtLayout::Chunk& chunk,
                                       const FileBytes& file, std::vector<std::byte>& buffer) {
  buffer.resize(static_cast<std::size_t>(chunk.raw));
  const auto stored = file.bytes.subspan(static_cast<std::size_t>(chunk.offset),
                                         static_cast<std::size_t>(chunk.stored));
  const std::string problem = unpack_chunk(layout.codec, stored, buffer);
  if (!problem.empty()) refuse(file.name, chunk.offset, problem);
  check_raw(layout, chunk, buffer.data(), file.name);
  return buffer;
}

/// Copies cells of the file's width into cells of the table's.
void copy_cells(const std::vector<std::byte>& raw, int from_bytes, int to_bytes, std::byte* to) {
  if (from_bytes == 1) {
    std::copy(raw.begin(), raw.end(), to);
    return;
  }
  for (std::size_t i = 0; i < raw.size() / 2; ++i) {
    const auto id = load_le<std::uint16_t>(&raw[2 * i]);
    if (to_bytes == 1) {
      to[i] = static_cast<std::byte>(id);
    } else {
      reinterpret_cast<std::uint16_t*>(to)[i] = id;
    }
  }
}

RoutingTable read_cells(const MrtLayout& layout, const RoutingShape& shape, const FileBytes& file) {
  if (can_be_mapped(layout, file)) {
    RoutingTable table(shape, layout.rows, file.bytes.data() + layout.chunks.front().offset,
                       file.keeper);
    table.put_off_check(std::make_shared<const MappedCheck>(layout, file));
    return table;
  }
  RoutingTable table(shape, layout.rows);
  std::byte* to = table.writable_cells().data();
  std::vector<std::byte> buffer;
  for (const MrtLayout::Chunk& chunk : layout.chunks) {
    copy_cells(unpacked(layout, chunk, file, buffer), layout.cell_bytes, table.cell_bytes(), to);
    to += chunk.rows * table.row_bytes();
  }
  return table;
}

std::vector<RoutedSequence> read_sequences(const MrtLayout& layout, const FileBytes& file) {
  std::vector<RoutedSequence> sequences;
  sequences.reserve(static_cast<std::size_t>(layout.sequences));
  std::uint64_t next = 0;
  for (std::uint64_t i = 0; i < layout.sequences; ++i) {
    const std::uint64_t offset = layout.sequence_table.offset + i * kMrtSequence;
    const std::byte* const at = file.bytes.data() + offset;
    RoutedSequence sequence;
    sequence.first_row = load_le<std::uint64_t>(at);
    sequence.rows = load_le<std::uint32_t>(at + 8);
    sequence.first_position = load_le<std::uint32_t>(at + 12);
    sequence.prompt_rows = load_le<std::uint32_t>(at + 16);
    sequence.domain = load_le<std::uint16_t>(at + 20);
    sequence.flags = load_le<std::uint16_t>(at + 22);
    sequence.source_id = load_le<std::uint64_t>(at + 24);
    if (sequence.first_row != next || sequence.rows == 0 || sequence.rows > layout.rows - next)
      refuse(
          file.name, offset,
          fmt::format("sequence {} has {} rows from {}; one that goes on from row {} is expected",
                      i, sequence.rows, sequence.first_row, next));
    if (sequence.prompt_rows > sequence.rows)
      refuse(file.name, offset + 16,
             fmt::format("sequence {} has {} prompt rows of {}", i, sequence.prompt_rows,
                         sequence.rows));
    next += sequence.rows;
    sequences.push_back(sequence);
  }
  if (layout.sequences > 0 && next != layout.rows)
    refuse(file.name, layout.sequence_table.offset,
           fmt::format("the sequences cover {} of {} rows", next, layout.rows));
  return sequences;
}

/// Without a table the rows are one sequence, cut only where a sequence can get no longer.
std::vector<RoutedSequence> one_sequence(std::uint64_t rows) {
  constexpr std::uint64_t kLongest = std::numeric_limits<std::uint32_t>::max();
  std::vector<RoutedSequence> sequences;
  for (std::uint64_t first = 0; first < rows; first += kLongest) {
    RoutedSequence sequence;
    sequence.first_row = first;
    sequence.rows = static_cast<std::uint32_t>(std::min(rows - first, kLongest));
    sequences.push_back(sequence);
  }
  return sequences;
}

RoutingMetadata read_metadata(MrtLayout& layout, const FileBytes& file) {
  RoutingMetadata metadata;
  const MrtRange& range = layout.metadata;
  if (range.size == 0) return metadata;
  const std::string_view text(reinterpret_cast<const char*>(file.bytes.data() + range.offset),
                              static_cast<std::size_t>(range.size));
  std::string problem = parse_metadata(text, metadata);
  if (problem.empty()) {
    layout.shape.groups = metadata.groups;
    layout.shape.topk_groups = metadata.topk_groups;
    const std::vector<ShapeProblem> shape = shape_problems(layout.shape);
    if (!shape.empty()) problem = shape.front().problem;
  }
  if (problem.empty() && !metadata.layer_ids.empty() &&
      metadata.layer_ids.size() != static_cast<std::size_t>(layout.shape.layers))
    problem =
        fmt::format("{} layer_ids for {} layers", metadata.layer_ids.size(), layout.shape.layers);
  if (!problem.empty()) refuse(file.name, range.offset, "the metadata " + problem);
  return metadata;
}

RoutingTable read_tokens(const MrtLayout& layout, const RoutingMetadata& metadata,
                         const FileBytes& file) {
  std::vector<RoutedSequence> sequences =
      layout.sequences > 0 ? read_sequences(layout, file) : one_sequence(layout.rows);
  RoutingTable table = read_cells(layout, layout.shape, file);
  table.sequences = std::move(sequences);
  table.domains = metadata.domains;
  if (const std::string problem = order_domains(table); !problem.empty())
    refuse(file.name, layout.metadata.offset, "the metadata's domains: " + problem);
  table.ranked = (layout.flags & kMrtRanked) != 0;
  table.physical = (layout.flags & kMrtPhysical) != 0;
  table.shared_experts = layout.shared_experts;
  table.layer_ids = metadata.layer_ids;
  table.model = metadata.model;
  table.metadata = metadata.rest;
  return table;
}

StepLoads read_steps(const MrtLayout& layout, const RoutingMetadata& metadata,
                     const FileBytes& file) {
  StepLoads loads;
  loads.shape = layout.shape;
  loads.free_sum = metadata.free_sum;
  loads.physical = (layout.flags & kMrtPhysical) != 0;
  loads.model = metadata.model;
  loads.layer_ids = metadata.layer_ids;
  loads.metadata = metadata.rest;
  const auto cells = static_cast<std::size_t>(layout.shape.layers) *
                     static_cast<std::size_t>(layout.shape.experts);
  std::vector<std::byte> buffer;
  for (const MrtLayout::Chunk& chunk : layout.chunks) {
    const std::byte* at = unpacked(layout, chunk, file, buffer).data();
    for (std::uint32_t row = 0; row < chunk.rows; ++row) {
      StepLoads::Step step;
      step.time_us = load_le<std::uint64_t>(at);
      step.number = chunk.first_row + row;
      step.prefill_tokens = load_le<std::uint32_t>(at + 8);
      step.decode_tokens = load_le<std::uint32_t>(at + 12);
      loads.steps.push_back(step);
      at += kMrtStepHead;
      for (std::size_t i = 0; i < cells; ++i, at += layout.cell_bytes)
        loads.counts.push_back(layout.cell_bytes == 2 ? load_le<std::uint16_t>(at)
                                                      : load_le<std::uint32_t>(at));
    }
  }
  return loads;
}

}  // namespace

RoutingTrace read_mrt(const FileBytes& file) {
  MrtLayout layout = read_mrt_layout(file);
  const RoutingMetadata metadata = read_metadata(layout, file);
  if (layout.mode == MrtMode::kPerToken) return read_tokens(layout, metadata, file);
  return read_steps(layout, metadata, file);
}

}  // namespace moesim
