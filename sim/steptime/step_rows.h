#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/steptime/moe_model.h"
#include "sim/steptime/routing_tables.h"

namespace moesim {

struct PromptChunk;

/// Which rows of the routing table the tokens of a step take, one by one. Padding, and the dummy
/// token of ranks without work, take rows of their own. Allocates nothing once it has seen a step
/// of that size.
class StepRows {
 public:
  /// `tables` and `workload`, which may be null, outlive it.
  StepRows(const RoutingTables& tables, const Workload* workload);

  /// What identifies a token, where every layer takes a row of its own (replay mode independent).
  struct Key {
    std::uint32_t request = 0, index = 0;
    bool prompt = false;
  };

  /// Lists the rows of a step. A new table starts with `restart`.
  void list(const MoeStep& step);
  void restart();

  /// [token] data-parallel rank by rank, padding last.
  [[nodiscard]] std::span<const std::uint64_t> rows() const { return rows_; }
  [[nodiscard]] std::span<const Key> keys() const { return keys_; }  ///< only if independent
  /// Rows of each data-parallel rank, without padding.
  [[nodiscard]] std::span<const std::size_t> by_rank() const { return by_rank_; }
  /// Of all ranks: how many of `rows` are tokens of requests.
  [[nodiscard]] std::size_t real() const { return real_; }
  [[nodiscard]] bool independent() const { return independent_; }

 private:
  void add(std::uint32_t request, bool prompt, std::uint32_t index);
  void add_chunk(const PromptChunk& chunk);
  [[nodiscard]] bool find_block(std::uint32_t request, std::uint32_t at, std::uint32_t& block,
                                std::uint32_t& offset) const;
  const RoutingReplay::Walk& walk(std::uint32_t request);

  const RoutingTables& tables_;
  const Workload* workload_;
  bool balanced_, independent_;
  /// Walks of requests seen lately, by the low bits of their number.
  struct Known {
    RoutingReplay::Walk walk;
    bool known = false;
  };
  std::vector<Known> walks_;
  std::vector<std::uint64_t> rows_;
  std::vector<Key> keys_;
  std::vector<std::size_t> by_rank_;
  std::size_t real_ = 0;
};

}  // namespace moesim
