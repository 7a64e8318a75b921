#include "scenarios/request_domains.h"

#include <algorithm>

#include "scenarios/workload.h"

namespace moesim {
RequestDomains::RequestDomains(const std::vector<DomainMix>& schedule, const Workload* requests,
                               bool tags) {
  for (const DomainMix& mix : schedule) mixes_.push_back(mix.shares);
  if (mixes_.empty()) mixes_.emplace_back();
  scheduled_ = mixes_.size();
  if (requests == nullptr) {
    stretches_ = {{0, 0, 0}};
    return;
  }
  stretches_ = {{0, 0, requests->size()}};
  tags = tags && !requests->domain.empty();
  all_tagged_ = tags && std::ranges::find(requests->domain, kNoDomain) == requests->domain.end();
  if (!tags && scheduled_ == 1) return;
  mix_of_.assign(requests->size(), 0);
  if (scheduled_ > 1) add_stretches(schedule, *requests);
  if (tags) add_tags(*requests);
  add_numbers();
  add_blocks(*requests);
}

void RequestDomains::add_stretches(const std::vector<DomainMix>& schedule,
                                   const Workload& requests) {
  constexpr double kNs = 1e9;
  const std::vector<std::int64_t> arrivals = earliest_arrivals(requests);
  stretches_.clear();
  for (std::size_t mix = 0; mix < schedule.size(); ++mix) {
    const double end = mix + 1 < schedule.size() ? schedule[mix + 1].from_s : 1e300;
    Stretch stretch{schedule[mix].from_s, 0, 0};
    stretch.first = stretch.last = mix == 0 ? 0 : stretches_.back().last;
    while (stretch.last < arrivals.size() &&
           static_cast<double>(arrivals[stretch.last]) < end * kNs)
      mix_of_[stretch.last++] = static_cast<std::uint16_t>(mix);
    stretches_.push_back(stretch);
  }
}

void RequestDomains::add_tags(const Workload& requests) {
  for (const std::string& name : requests.domain_names) mixes_.push_back({{name, 1.0}});
  for (std::size_t r = 0; r < requests.size(); ++r) {
    if (requests.domain[r] == kNoDomain) continue;
    mix_of_[r] = static_cast<std::uint16_t>(scheduled_ + requests.domain[r]);
  }
}

void RequestDomains::add_numbers() {
  std::vector<std::uint32_t> seen(mixes_.size(), 0);
  for (const std::uint16_t mix : mix_of_) number_.push_back(seen[mix]++);
}

void RequestDomains::add_blocks(const Workload& requests) {
  if (requests.chain_begin.empty()) return;
  mix_of_block_.assign(requests.chain_ids, 0);
  // From the last request to the first, so that the first one stays.
  for (std::size_t r = requests.size(); r-- > 0;) {
    for (std::uint32_t i = requests.chain_begin[r]; i < requests.chain_begin[r + 1]; ++i)
      mix_of_block_[requests.chain[i].id] = mix_of_[r];
  }
}

}  // namespace moesim
