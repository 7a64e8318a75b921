#include "scenarios/domain_mix.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "scenarios/routing_table.h"
#include "sim/base/reader.h"

namespace moesim {
namespace {

std::map<std::string, double> read_shares(Reader& in, const std::string& key) {
  std::map<std::string, double> shares;
  Reader section = in.map(key);
  double sum = 0;
  for (const std::string& name : section.keys())
    sum += shares[name] = section.number(name, {.min = 0, .max = 1e6});
  if (in.is_map(key) && sum <= 0)
    in.fail(key, "leaves no domain", "write a share above 0, or leave it out");
  return shares;
}

std::vector<DomainMix> read_schedule(Reader& in) {
  std::vector<DomainMix> mixes;
  for (Reader& item : in.maps("domain_mix")) {
    const double from = item.number("from_s", {.min = 0, .max = 1e8});
    if (mixes.empty() && from > 0)
      item.fail("from_s", "nothing is said of requests before it", "begin with from_s: 0");
    if (!mixes.empty() && from <= mixes.back().from_s)
      item.fail("from_s", fmt::format("{:g} s is not after {:g} s", from, mixes.back().from_s),
                "write mixes in order of time");
    mixes.push_back({from, read_shares(item, "shares")});
    item.reject_unknown_keys();
  }
  return mixes;
}

}  // namespace

GivenMix read_domain_mix(Reader& in) {
  GivenMix mix;
  if (!in.has("domain_mix")) return mix;
  mix.where = in.where("domain_mix");
  mix.key = in.path("domain_mix");
  if (in.is_list("domain_mix")) {
    mix.mixes = read_schedule(in);
  } else {
    mix.mixes = {{0, read_shares(in, "domain_mix")}};
  }
  return mix;
}

void check_domain_names(const GivenMix& mix, const std::vector<RoutingDomain>& domains) {
  std::vector<std::string> known;
  for (const RoutingDomain& domain : domains) {
    for (const std::string& name : {domain.name, domain.group}) {
      if (!name.empty() && std::ranges::find(known, name) == known.end()) known.push_back(name);
    }
  }
  for (const std::string& name : names_of(mix.mixes)) {
    if (std::ranges::find(known, name) != known.end()) continue;
    throw_input_error({mix.where, mix.key + "." + name, "the trace has no such domain",
                       nearest_name_hint(name, known)});
  }
}

std::vector<std::string> names_of(const std::vector<DomainMix>& mixes) {
  std::set<std::string> names;
  for (const DomainMix& mix : mixes) {
    for (const auto& [name, share] : mix.shares) names.insert(name);
  }
  return {names.begin(), names.end()};
}

}  // namespace moesim
