#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "scenarios/domain_mix.h"

namespace moesim {

struct Workload;

/// Which shares of domains each request is drawn with (routing-traces.md 3.6): its own domain if
/// its trace tells one, else the mix of the time it arrives. Pure functions of the workload, never
/// of how it is served: a follow-up counts as arriving when nothing before it takes any time.
class RequestDomains {
 public:
  /// `requests` may be null: all of them are untagged and arrive at 0. `tags`: look at domains of
  /// requests.
  RequestDomains(const std::vector<DomainMix>& schedule, const Workload* requests, bool tags);

  /// Shares by name; no names: all domains alike. Those of the schedule first, or one without
  /// names; behind them those of requests' own domains.
  [[nodiscard]] const std::vector<std::map<std::string, double>>& mixes() const { return mixes_; }
  [[nodiscard]] std::size_t scheduled() const { return scheduled_; }
  /// No request is drawn with a mix of the schedule.
  [[nodiscard]] bool all_tagged() const { return all_tagged_; }
  /// Mix of a request, and how many before it have the same one; requests beyond the workload have
  /// the first.
  [[nodiscard]] std::size_t mix_of(std::uint64_t request) const {
    return request < mix_of_.size() ? mix_of_[request] : 0;
  }
  [[nodiscard]] std::uint64_t number_of(std::uint64_t request) const {
    return request < number_.size() ? number_[request] : request;
  }
  /// Mix of a block of prompt: that of the first request that has it.
  [[nodiscard]] std::size_t mix_of_block(std::uint64_t block) const {
    return block < mix_of_block_.size() ? mix_of_block_[block] : 0;
  }

  /// Requests that arrive while one mix of the schedule holds: rows first .. last - 1.
  struct Stretch {
    double from_s = 0;
    std::size_t first = 0, last = 0;
  };
  /// One for each mix of the schedule; one of all requests without a schedule.
  [[nodiscard]] const std::vector<Stretch>& stretches() const { return stretches_; }

 private:
  void add_stretches(const std::vector<DomainMix>& schedule, const Workload& requests);
  void add_tags(const Workload& requests);
  void add_numbers();
  void add_blocks(const Workload& requests);

  std::vector<std::map<std::string, double>> mixes_;
  std::size_t scheduled_ = 1;
  bool all_tagged_ = false;
  std::vector<std::uint16_t> mix_of_;  ///< [request], or empty: all have the first
  std::vector<std::uint32_t> number_;
  std::vector<std::uint16_t> mix_of_block_;
  std::vector<Stretch> stretches_;
};

}  // namespace moesim
