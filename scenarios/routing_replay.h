#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scenarios/request_domains.h"
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
    std::vector<DomainMix> domain_mix = {};  ///< by time of arrival; empty: all domains alike
    bool mix_names_domains = false;          ///< the mix says which domains there are, too
  };
  /// Template tokens are routed alike in all requests: wrapping never returns to the first 32 rows.
  static constexpr std::uint32_t kTemplateRows = 32;

  /// `table` must outlive the object. `requests` (null: nothing is known of them) says which domain
  /// each is of, if the table names any, and when it arrives. Throws InputError if `domain_mix` or
  /// a request names a domain the table does not have, or all requests have one and a mix is given.
  RoutingReplay(const RoutingTable& table, const Options& options,
                const Workload* requests = nullptr);

  [[nodiscard]] Mode mode() const { return options_.mode; }
  [[nodiscard]] bool replaces() const { return options_.replace; }
  /// Prompts are routed like decode tokens of the same sequence: there are sequences without prompt
  /// rows.
  [[nodiscard]] bool prefill_from_decode() const { return prefill_from_decode_; }

  /// Where a request's rows lie: fetched once per request, then rows are arithmetic.
  struct Walk {
    std::uint64_t request = 0;
    std::uint32_t sequence = 0;  ///< of the table
    std::uint32_t decode_rows = 0, prompt_rows = 0;
    std::uint64_t decode_first = 0, prompt_first = 0;  ///< rows of the table
    bool prompt_is_decode = false;                     ///< no prompt rows: taken from decode rows
  };
  /// The first walk into rows of a mapped file checks them: throws InputError if they are damaged.
  [[nodiscard]] Walk walk(std::uint64_t request) const;
  /// Without replacement: how often all sequences of its mix had been used when `request` drew its
  /// own.
  [[nodiscard]] std::uint64_t epoch(std::uint64_t request) const;
  /// Mixes of the schedule, and whose they are.
  [[nodiscard]] const std::vector<RequestDomains::Stretch>& stretches() const {
    return domains_.stretches();
  }
  /// Share of each sequence of the table among the requests of a mix of the schedule.
  [[nodiscard]] std::vector<double> sequence_shares(std::size_t mix) const;
  /// The same among the first `requests` of the run, whatever mixes they are drawn with.
  [[nodiscard]] std::vector<double> shares_of_run(std::size_t requests) const;
  /// Row of the `index`-th output token (from 0) of a request; modes sequence and row.
  [[nodiscard]] std::uint64_t decode_row(const Walk& walk, std::uint32_t index) const {
    if (options_.mode == Mode::kSequence && index < walk.decode_rows)
      return walk.decode_first + index;
    return far_decode_row(walk, index);
  }
  /// Row of the `index`-th prompt token.
  [[nodiscard]] std::uint64_t prompt_row(const Walk& walk, std::uint32_t index) const;
  /// Row of token `offset` of a shared prefix block: keyed by the block, so that the same prefix
  /// routes the same in every request that recomputes it.
  [[nodiscard]] std::uint64_t block_row(std::uint64_t block, std::uint32_t offset) const;
  /// Mode independent: the row for one layer of what the functions above return for the others.
  [[nodiscard]] std::uint64_t layer_row(std::uint64_t request, bool prompt, std::uint32_t index,
                                        int layer) const;

 private:
  /// Consecutive rows.
  struct Run {
    std::uint64_t first = 0;
    std::uint32_t rows = 0;
  };
  /// A sequence that may be drawn.
  struct Source {
    std::uint32_t sequence = 0;
    Run decode, prompt;
    bool prompt_is_decode = false;
  };
  /// Sources of one domain lie together, for all mixes that have it.
  struct Share {
    std::size_t first = 0, count = 0;  ///< in sources_
    double below = 1;                  ///< cumulated within its mix
    std::uint32_t slots_below = 0;     ///< the same, of kMixBlock requests
  };
  /// Shares of one mix lie together.
  struct Mix {
    std::size_t first = 0, count = 0;  ///< in shares_
  };
  struct Draw {
    std::size_t source = 0;
    std::uint64_t epoch = 0;
  };

  static Source source_of(const RoutedSequence& sequence, std::size_t number);
  void add_mix(const std::map<std::string, double>& shares);
  void add_share(const std::string& name, double weight);
  void finish_shares(const Mix& mix);
  [[nodiscard]] const Share& share_of(const Mix& mix, std::uint64_t stream, std::uint64_t owner,
                                      std::uint64_t index = 0) const;
  [[nodiscard]] const Share& share_of_request(std::uint64_t request) const;
  [[nodiscard]] Draw draw(std::uint64_t request) const;
  [[nodiscard]] std::uint64_t far_decode_row(const Walk& walk, std::uint32_t index) const;
  [[nodiscard]] std::uint64_t drawn_row(std::uint64_t key, bool prompt, const Share& share,
                                        std::uint32_t index, std::uint64_t stream) const;

  const RoutingTable* table_;
  Options options_;
  bool prefill_from_decode_ = false;
  std::vector<Source> sources_;
  RequestDomains domains_;
  std::map<std::string, Share> known_;  ///< by domain or group; "" for all sequences
  std::vector<Share> shares_;
  std::vector<Mix> mixes_;  ///< as in domains_
  /// Rows of the sources before one, for draws of single rows.
  std::vector<std::uint64_t> decode_before_, prompt_before_;
};

}  // namespace moesim
