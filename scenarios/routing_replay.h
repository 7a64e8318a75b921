#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "scenarios/routing_table.h"

namespace moesim {

/// Which row of a table a simulated token takes (routing-traces.md 3).
///
/// Rule 0: a pure function of (table, options, request, position), whatever the batch, the schedule
/// or the parallel plan. All functions are O(1) and allocate nothing.
class RoutingReplay {
 public:
  enum class Mode : std::uint8_t {
    kSequence,     ///< a request follows one recorded sequence
    kRow,          ///< every token draws a row
    kIndependent,  ///< every token draws a row for each layer
  };
  struct Options {
    Mode mode = Mode::kSequence;
    bool replace = true;  ///< sequences are drawn with replacement, else by a keyed permutation
    std::uint64_t seed = 1;
    std::map<std::string, double>
        domain_mix;  ///< domain (or group) name -> share; empty: all alike
  };
  /// Template tokens are routed alike in all requests: wrapping never returns to the first 32 rows.
  static constexpr std::uint32_t kTemplateRows = 32;

  /// `table` must outlive the object.
  RoutingReplay(const RoutingTable& table, const Options& options);

  [[nodiscard]] Mode mode() const { return options_.mode; }
  /// Prompts are routed like decode tokens of the same domain: the table has no prompt rows.
  [[nodiscard]] bool prefill_from_decode() const { return prefill_from_decode_; }

  /// Where a request's rows lie: fetched once per request, then rows are arithmetic.
  struct Walk {
    std::uint64_t request = 0;
    std::uint32_t sequence = 0;  ///< of the table
  };
  [[nodiscard]] Walk walk(std::uint64_t request) const;
  /// Row of the `index`-th output token (from 0) of a request; modes sequence and row.
  [[nodiscard]] std::uint64_t decode_row(const Walk& walk, std::uint32_t index) const;
  /// Row of the `index`-th prompt token.
  [[nodiscard]] std::uint64_t prompt_row(const Walk& walk, std::uint32_t index) const;
  /// Row of token `offset` of a shared prefix block: keyed by the block, so that the same prefix
  /// routes the same in every request that recomputes it.
  [[nodiscard]] std::uint64_t block_row(std::uint64_t block, std::uint32_t offset) const;
  /// Mode independent: the row for one layer of what the functions above return for the others.
  [[nodiscard]] std::uint64_t layer_row(std::uint64_t request, bool prompt, std::uint32_t index,
                                        int layer) const;

 private:
  [[nodiscard]] std::uint32_t pick_sequence(std::uint64_t key) const;

  const RoutingTable* table_;
  Options options_;
  bool prefill_from_decode_ = false;
  std::vector<std::uint32_t> usable_;        ///< sequences that may be drawn, by domain
  std::vector<std::uint32_t> first_usable_;  ///< [domain share] ranges of usable_
  std::vector<double> share_below_;          ///< cumulated domain_mix
};

}  // namespace moesim
