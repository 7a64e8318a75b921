#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moesim {

/// The MoE layers tokens are routed through, of a model or of a trace (routing-traces.md: L, E, K).
struct RoutingShape {
  int layers = 0;   ///< MoE layers, first to last; dense layers are not counted
  int experts = 0;  ///< routed experts of a layer, shared ones not counted
  int top_k = 0;
  int groups =
      0;  ///< group-limited choice: the experts lie in so many groups of equal size, 0: none
  int topk_groups = 0;  ///< and a token chooses inside so many of them
  friend bool operator==(const RoutingShape&, const RoutingShape&) = default;
};

/// Consecutive rows that belong to one generation: prompt rows first, then decode rows.
struct RoutedSequence {
  std::uint64_t first_row = 0;
  std::uint32_t rows = 0;
  std::uint32_t first_position = 0;  ///< of the first row in its sequence
  std::uint32_t prompt_rows = 0;
  std::uint16_t domain = 0;  ///< index into RoutingTable::domains, by id
  std::uint16_t flags = 0;   ///< 1 finished, 2 repetition loop, 4 positions contiguous
  std::uint64_t source_id = 0;
};

struct RoutingDomain {
  int id = 0;
  std::string name, group;
};

/// Verifies rows whose check was put off until they are needed (a mapped file).
class RowCheck {
 public:
  virtual ~RowCheck() = default;
  /// Throws InputError if one of these rows is damaged. Any thread; at once for rows seen before.
  virtual void check(std::uint64_t first, std::uint64_t count) const = 0;
};

/// Routed tokens: for each row (token) and layer the K distinct logical experts it chose, in
/// falling router weight if `ranked`. Rows are token-major: all layers of a token lie together, so
/// a step that counts experts reads L*K consecutive cells a token (performance.md 4, rule 8).
///
/// Cells are one byte if `shape.experts` <= 256, else two (native order). Movable, not copyable;
/// the cells may be a mapped file.
class RoutingTable {
 public:
  RoutingTable() = default;
  /// An owned table of `rows` rows, all zero, to be filled through `set`.
  RoutingTable(const RoutingShape& shape, std::uint64_t rows);
  /// Cells that live elsewhere; `keeper` keeps them alive. Precondition: rows * row_bytes() bytes.
  RoutingTable(const RoutingShape& shape, std::uint64_t rows, const std::byte* cells,
               std::shared_ptr<const void> keeper);

  [[nodiscard]] const RoutingShape& shape() const { return shape_; }
  [[nodiscard]] std::uint64_t rows() const { return rows_; }
  [[nodiscard]] int cell_bytes() const { return shape_.experts <= 256 ? 1 : 2; }
  [[nodiscard]] std::size_t row_cells() const {
    return static_cast<std::size_t>(shape_.layers) * static_cast<std::size_t>(shape_.top_k);
  }
  [[nodiscard]] std::size_t row_bytes() const {
    return row_cells() * static_cast<std::size_t>(cell_bytes());
  }
  /// First cell of a row. Precondition: the table has that cell width.
  [[nodiscard]] const std::uint8_t* row8(std::uint64_t row) const {
    return reinterpret_cast<const std::uint8_t*>(cells_) + row * row_cells();
  }
  [[nodiscard]] const std::uint16_t* row16(std::uint64_t row) const {
    return reinterpret_cast<const std::uint16_t*>(cells_) + row * row_cells();
  }
  /// Choice `rank` of a row at a layer, whatever the cell width: for everything that is not hot.
  [[nodiscard]] int expert(std::uint64_t row, int layer, int rank) const;
  /// Precondition: owned.
  void set(std::uint64_t row, int layer, int rank, int expert);
  [[nodiscard]] std::span<const std::byte> cells() const {
    return {cells_, static_cast<std::size_t>(rows_) * row_bytes()};
  }
  /// All cells, to be filled from a file. Precondition: owned.
  [[nodiscard]] std::span<std::byte> writable_cells();

  /// Throws InputError if rows of a mapped file are damaged: their checksum, or an id that is no
  /// expert or comes twice. Call it before the first use of rows as indices (RoutingReplay does
  /// when it chooses them); free for tables in memory, which are checked when they are read.
  void check_rows(std::uint64_t first, std::uint64_t count) const {
    if (check_ != nullptr) check_->check(first, count);
  }
  void check_all_rows() const { check_rows(0, rows_); }
  void put_off_check(std::shared_ptr<const RowCheck> check) { check_ = std::move(check); }

  std::vector<RoutedSequence> sequences;  ///< contiguous, covering all rows
  /// Of them, those whose file leaves out positions; here their rows follow each other.
  std::uint64_t sequences_with_gaps = 0;
  std::vector<RoutingDomain> domains;  ///< may be empty
  std::vector<float> weights;  ///< [row][layer][rank] router weights, or empty: not recorded
  bool ranked = true;
  bool physical = false;  ///< ids are of stored copies (EPLB slots), not of checkpoint experts
  int shared_experts = 0;
  std::vector<int> layer_ids;  ///< model layer of each MoE layer, or empty
  std::string model;
  std::string metadata = "{}";  ///< a JSON object: source, license, capture, ...

 private:
  RoutingShape shape_;
  std::uint64_t rows_ = 0;
  const std::byte* cells_ = nullptr;
  std::byte* owned_ = nullptr;  ///< cells_, if they may be written
  std::shared_ptr<const void> keeper_;
  std::shared_ptr<const RowCheck> check_;  ///< of rows nobody has looked at yet
};

/// Tokens per expert of engine steps (mode step_load): what most engines can log.
struct StepLoads {
  RoutingShape shape;
  struct Step {
    std::uint64_t time_us = 0;
    std::uint64_t number = 0;  ///< as recorded
    std::uint32_t prefill_tokens = 0, decode_tokens = 0;
  };
  std::vector<Step> steps;
  std::vector<std::uint32_t> counts;  ///< [step][layer][expert]
  bool free_sum = false;              ///< counts are approximate: need not add up to tokens * K
  bool physical = false;
  std::vector<int> layer_ids;  ///< model layer of each MoE layer, or empty
  std::string model;
  std::string metadata = "{}";
};

}  // namespace moesim
