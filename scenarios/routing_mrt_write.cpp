#include <algorithm>
#include <bit>
#include <limits>

#include "scenarios/routing_metadata.h"
#include "scenarios/routing_mrt.h"
#include "scenarios/routing_trace.h"
#include "sim/base/check.h"

namespace moesim {
namespace {

std::span<const std::byte> bytes_in(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// What does not depend on the mode: everything around the rows.
class MrtWriter {
 public:
  MrtWriter(const MrtLayout& layout, const MrtOptions& options) : layout_(layout) {
    MOESIM_CHECK(options.rows_per_chunk > 0, "a chunk holds rows");
    layout_.codec = options.codec;
    layout_.rows_per_chunk = options.rows_per_chunk;
    level_ = options.level;
    out_.assign(kMrtHeader, '\0');
  }

  void metadata(const std::string& json) { layout_.metadata = append(json); }

  void sequences(const std::vector<RoutedSequence>& list) {
    std::string table;
    for (const RoutedSequence& sequence : list) {
      append_le(table, sequence.first_row);
      append_le(table, sequence.rows);
      append_le(table, sequence.first_position);
      append_le(table, sequence.prompt_rows);
      append_le(table, sequence.domain);
      append_le(table, sequence.flags);
      append_le(table, sequence.source_id);
    }
    layout_.sequences = list.size();
    layout_.sequence_table = append(table);
  }

  void chunk(std::span<const std::byte> raw, std::uint64_t first_row, std::uint32_t rows) {
    MrtLayout::Chunk chunk;
    chunk.raw = raw.size();
    chunk.first_row = first_row;
    chunk.rows = rows;
    chunk.crc = crc32_of(raw);
    pad(layout_.codec == MrtCodec::kNone ? kMrtPage : kMrtWord);
    chunk.offset = out_.size();
    if (layout_.codec == MrtCodec::kNone) {
      out_.append(reinterpret_cast<const char*>(raw.data()), raw.size());
    } else {
      out_ += pack_chunk(layout_.codec, raw, level_);
    }
    chunk.stored = out_.size() - chunk.offset;
    layout_.chunks.push_back(chunk);
  }

  /// Index, trailer and header: the file is complete.
  std::string finish() {
    std::string index;
    for (const MrtLayout::Chunk& chunk : layout_.chunks) {
      append_le(index, chunk.offset);
      append_le(index, chunk.stored);
      append_le(index, chunk.raw);
      append_le(index, chunk.first_row);
      append_le(index, chunk.rows);
      append_le(index, chunk.crc);
    }
    layout_.index = append(index);
    const std::span<const std::byte> all = bytes_in(out_);
    std::string trailer;
    for (const MrtRange& range : {layout_.metadata, layout_.sequence_table, layout_.index})
      append_le(trailer, crc32_of(all.subspan(range.offset, range.size)));
    append_le(trailer, kMrtTrailerMagic);
    out_ += trailer;
    const std::string head = header(out_.size());
    std::copy(head.begin(), head.end(), out_.begin());
    return std::move(out_);
  }

 private:
  void pad(std::uint64_t unit) { out_.resize((out_.size() + unit - 1) / unit * unit, '\0'); }

  MrtRange append(const std::string& part) {
    pad(kMrtWord);
    const MrtRange range{out_.size(), part.size()};
    out_ += part;
    return range;
  }

  [[nodiscard]] std::string header(std::uint64_t file_size) const {
    std::string head(kMrtMagic);
    append_le(head, kMrtMajor);
    append_le(head, std::uint16_t{0});
    append_le(head, static_cast<std::uint32_t>(kMrtHeader));
    append_le(head, static_cast<std::uint8_t>(layout_.mode));
    append_le(head, static_cast<std::uint8_t>(layout_.cell_bytes));
    append_le(head, static_cast<std::uint8_t>(layout_.codec));
    append_le(head, std::uint8_t{0});  // layout: row-major
    append_le(head, layout_.flags);
    for (const int count :
         {layout_.shape.layers, layout_.shape.experts, layout_.shape.top_k, layout_.shared_experts})
      append_le(head, static_cast<std::uint32_t>(count));
    append_le(head, layout_.rows);
    append_le(head, layout_.sequences);
    append_le(head, layout_.rows_per_chunk);
    append_le(head, static_cast<std::uint32_t>(layout_.chunks.size()));
    for (const MrtRange& range : {layout_.metadata, layout_.sequence_table, layout_.index}) {
      append_le(head, range.offset);
      append_le(head, range.size);
    }
    append_le(head, file_size);
    append_le(head, std::uint32_t{0});
    append_le(head, crc32_of(bytes_in(head)));
    MOESIM_CHECK(head.size() == kMrtHeader, "the header has its fixed size");
    return head;
  }

  MrtLayout layout_;
  int level_ = 1;
  std::string out_;
};

/// Rows of a table as the file has them: two-byte ids are little-endian.
std::vector<std::byte> little_endian(std::span<const std::byte> cells) {
  std::vector<std::byte> out(cells.begin(), cells.end());
  for (std::size_t i = 0; i + 1 < out.size(); i += 2) std::swap(out[i], out[i + 1]);
  return out;
}

bool decode_only(const RoutingTable& table) {
  return std::all_of(table.sequences.begin(), table.sequences.end(),
                     [](const RoutedSequence& sequence) { return sequence.prompt_rows == 0; });
}

std::string step_rows(const StepLoads& loads, std::uint64_t first, std::uint32_t rows,
                      std::size_t cells, int cell_bytes) {
  std::string raw;
  for (std::uint64_t i = first; i < first + rows; ++i) {
    const StepLoads::Step& step = loads.steps[i];
    append_le(raw, step.time_us);
    append_le(raw, step.prefill_tokens);
    append_le(raw, step.decode_tokens);
    append_le(raw, std::uint64_t{0});  // flags, padding
    for (std::size_t c = 0; c < cells; ++c) {
      const std::uint32_t count = loads.counts[i * cells + c];
      if (cell_bytes == 2) {
        append_le(raw, static_cast<std::uint16_t>(count));
      } else {
        append_le(raw, count);
      }
    }
  }
  return raw;
}

}  // namespace

std::string write_mrt(const RoutingTable& table, const MrtOptions& options) {
  MrtLayout layout;
  layout.cell_bytes = table.cell_bytes();
  layout.shape = table.shape();
  layout.shared_experts = table.shared_experts;
  layout.rows = table.rows();
  layout.flags = (table.ranked ? kMrtRanked : 0U) | (table.physical ? kMrtPhysical : 0U) |
                 (table.sequences.empty() ? 0U : kMrtSequences) |
                 (decode_only(table) ? kMrtDecodeOnly : 0U);
  MrtWriter writer(layout, options);
  writer.metadata(
      write_metadata({table.model, table.layer_ids, table.shape().groups, table.shape().topk_groups,
                      table.domains, false, table.metadata}));
  writer.sequences(table.sequences);
  const bool swap = table.cell_bytes() == 2 && std::endian::native != std::endian::little;
  for (std::uint64_t first = 0; first < table.rows(); first += options.rows_per_chunk) {
    const auto rows = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(options.rows_per_chunk, table.rows() - first));
    const auto raw = table.cells().subspan(first * table.row_bytes(), rows * table.row_bytes());
    if (swap) {
      writer.chunk(little_endian(raw), first, rows);
    } else {
      writer.chunk(raw, first, rows);
    }
  }
  return writer.finish();
}

std::string write_mrt(const StepLoads& loads, const MrtOptions& options) {
  const auto cells =
      static_cast<std::size_t>(loads.shape.layers) * static_cast<std::size_t>(loads.shape.experts);
  const bool small = std::all_of(loads.counts.begin(), loads.counts.end(), [](std::uint32_t count) {
    return count <= std::numeric_limits<std::uint16_t>::max();
  });
  MrtLayout layout;
  layout.mode = MrtMode::kStepLoad;
  layout.cell_bytes = small ? 2 : 4;
  layout.shape = loads.shape;
  layout.rows = loads.steps.size();
  layout.flags = loads.physical ? kMrtPhysical : 0U;
  MrtWriter writer(layout, options);
  writer.metadata(write_metadata({loads.model,
                                  loads.layer_ids,
                                  loads.shape.groups,
                                  loads.shape.topk_groups,
                                  {},
                                  loads.free_sum,
                                  loads.metadata}));
  writer.sequences({});
  for (std::uint64_t first = 0; first < layout.rows; first += options.rows_per_chunk) {
    const auto rows = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(options.rows_per_chunk, layout.rows - first));
    writer.chunk(bytes_in(step_rows(loads, first, rows, cells, layout.cell_bytes)), first, rows);
  }
  return writer.finish();
}

}  // namespace moesim
