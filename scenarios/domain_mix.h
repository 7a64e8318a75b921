#pragma once

#include <map>
#include <string>
#include <vector>

#include "sim/base/diagnostic.h"

namespace moesim {

class Reader;
struct RoutingDomain;

/// Shares that requests of each domain, or group of domains, have from some moment on. They need
/// not sum to 1.
struct DomainMix {
  double from_s = 0;
  std::map<std::string, double> shares;
  friend bool operator==(const DomainMix&, const DomainMix&) = default;
};

/// `domain_mix` of a section, and where it stands. No mixes: all domains alike.
struct GivenMix {
  std::vector<DomainMix> mixes;  ///< by time; the first holds from 0 on
  Where where;
  std::string key;
};

/// `domain_mix: {math: 1, code: 3}`, or by time of arrival `[{from_s: 0, shares: {...}}, ...]`.
[[nodiscard]] GivenMix read_domain_mix(Reader& in);
/// Throws InputError if a name is neither one of the domains' nor of their groups.
void check_domain_names(const GivenMix& mix, const std::vector<RoutingDomain>& domains);
/// All names of a schedule, each once, in order.
[[nodiscard]] std::vector<std::string> names_of(const std::vector<DomainMix>& mixes);

}  // namespace moesim
