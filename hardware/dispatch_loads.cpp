#include "hardware/dispatch_loads.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace moesim {

namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

}  // namespace

/// Finds, link by link, which sources send to the same destinations over it.
class ProductLoads::Builder {
 public:
  Builder(ProductLoads& out, const Topology& topology, std::span<const int> gpus)
      : out_(out), topology_(topology), gpus_(gpus), crossing_(topology.links().size()) {}

  void add(int source, int destination, const Route& route) {
    const int from = gpus_[at(route.from)], to = gpus_[at(route.to)];
    const bool between = topology_.node_of(from) != topology_.node_of(to);
    for (const int link : topology_.path(from, to)) {
      Crossing& crossing = crossing_[at(link)];
      if (crossing.by_source.empty()) crossing.ends = route;
      crossing.one_from = crossing.one_from && crossing.ends.from == route.from;
      crossing.one_to = crossing.one_to && crossing.ends.to == route.to;
      crossing.between = crossing.between && between;
      auto& rows = crossing.by_source;
      if (rows.empty() || rows.back().first != source) rows.push_back({source, {}});
      rows.back().second.push_back(destination);
    }
  }

  void finish() {
    for (std::size_t i = 0; i < crossing_.size(); ++i) {
      if (!crossing_[i].by_source.empty()) add_link(crossing_[i], topology_.links()[i]);
    }
  }

 private:
  struct Crossing {
    std::vector<std::pair<int, std::vector<int>>> by_source;
    Route ends;
    bool one_from = true, one_to = true, between = true;
  };
  using Known = std::map<std::vector<int>, int>;
  using Terms = std::vector<std::pair<int, int>>;

  static int id_of(const std::vector<int>& set, Known& known, Sets& sets) {
    const auto [entry, is_new] = known.emplace(set, static_cast<int>(known.size()));
    if (is_new) {
      sets.members.insert(sets.members.end(), set.begin(), set.end());
      sets.first.push_back(static_cast<int>(sets.members.size()));
    }
    return entry->second;
  }

  void add_link(const Crossing& crossing, const Link& link) {
    std::map<std::vector<int>, std::vector<int>> sources;  // by destinations
    for (const auto& [source, destinations] : crossing.by_source) {
      sources[destinations].push_back(source);
    }
    Terms terms;
    for (const auto& [destinations, senders] : sources) {
      terms.emplace_back(id_of(senders, known_sources_, out_.sources_),
                         id_of(destinations, known_destinations_, out_.destinations_));
    }
    const double seconds = 1 / link.bandwidth.value();
    const auto [entry, is_new] =
        known_links_.emplace(std::pair(terms, crossing.between), out_.links_.size());
    if (!is_new) {
      double& slowest = out_.links_[entry->second].seconds_per_byte;
      slowest = std::max(slowest, seconds);
      return;
    }
    const std::size_t first = out_.terms_.size();
    for (const auto& [from, to] : terms) out_.terms_.push_back({from, to});
    const bool receiver = crossing.one_to && !crossing.one_from;
    out_.links_.push_back({first, out_.terms_.size(), seconds, crossing.between,
                           receiver ? crossing.ends.to : crossing.ends.from});
  }

  ProductLoads& out_;
  const Topology& topology_;
  std::span<const int> gpus_;
  std::vector<Crossing> crossing_;  // by link
  Known known_sources_, known_destinations_;
  std::map<std::pair<Terms, bool>, std::size_t> known_links_;
};

ProductLoads::ProductLoads(const Topology& topology, std::span<const int> gpus, int sources,
                           int destinations, const Routes& routes) {
  Builder builder(*this, topology, gpus);
  for (int source = 0; source < sources; ++source) {
    for (int destination = 0; destination < destinations; ++destination) {
      const Route route = routes(source, destination);
      if (route.from >= 0 && route.from != route.to) builder.add(source, destination, route);
    }
  }
  builder.finish();
}

std::vector<int> ProductLoads::Sets::of(int set) const {
  return {members.begin() + first[at(set)], members.begin() + first[at(set) + 1]};
}

void ProductLoads::Sets::sums(std::span<const double> weights, std::span<double> out) const {
  for (std::size_t set = 0; set < size(); ++set) {
    // Four sums side by side: one would wait for each addition before the next.
    double sum[4] = {0, 0, 0, 0};
    const int* member = members.data() + first[set];
    const int* const end = members.data() + first[set + 1];
    for (; end - member >= 4; member += 4) {
      for (int lane = 0; lane < 4; ++lane) sum[lane] += weights[at(member[lane])];
    }
    for (; member != end; ++member) sum[0] += weights[at(*member)];
    out[set] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
}

bool ProductLoads::same_as(const ProductLoads& other) const {
  using Sides = std::vector<std::pair<std::vector<int>, std::vector<int>>>;
  using Links = std::vector<std::tuple<double, bool, Sides>>;
  const auto written_out = [](const ProductLoads& loads) {
    Links links;
    for (const LoadedLink& link : loads.links_) {
      Sides sides;
      for (std::size_t i = link.first_term; i < link.last_term; ++i) {
        const Term& term = loads.terms_[i];
        sides.emplace_back(loads.sources_.of(term.sources),
                           loads.destinations_.of(term.destinations));
      }
      std::ranges::sort(sides);
      links.emplace_back(link.seconds_per_byte, link.between, std::move(sides));
    }
    std::ranges::sort(links);
    return links;
  };
  return written_out(*this) == written_out(other);
}

ProductLoads::Busy ProductLoads::busy(std::span<const double> from,
                                      std::span<const double> to) const {
  Scratch scratch(sources_.size() + destinations_.size());
  const std::span<double> sent = scratch.span().first(sources_.size());
  const std::span<double> received = scratch.span().subspan(sources_.size());
  sources_.sums(from, sent);
  destinations_.sums(to, received);
  Busy busy;
  for (const LoadedLink& link : links_) {
    double load = 0;
    for (std::size_t i = link.first_term; i < link.last_term; ++i) {
      load += sent[at(terms_[i].sources)] * received[at(terms_[i].destinations)];
    }
    double& most = link.between ? busy.between : busy.inside;
    if (load * link.seconds_per_byte <= most) continue;
    most = load * link.seconds_per_byte;
    (link.between ? busy.between_rank : busy.inside_rank) = link.rank;
  }
  return busy;
}

}  // namespace moesim
