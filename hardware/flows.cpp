#include "hardware/flows.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

namespace moesim {

namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

/// Two links fill at the same level when their levels differ by rounding only.
constexpr double kSame = 1e-12;

/// Progressive filling over numbered links.
class Filling {
 public:
  Filling(const Topology& topology, std::span<const FlowRoute> routes) {
    std::map<int, int> known;
    for (const FlowRoute& route : routes) {
      std::vector<int> own;
      for (const int link : topology.path(route.from_gpu, route.to_gpu)) {
        const auto [entry, is_new] = known.emplace(link, static_cast<int>(links_.size()));
        if (is_new) links_.push_back({topology.links()[at(link)].bandwidth.value(), 0});
        links_[at(entry->second)].open += route.flows;
        own.push_back(entry->second);
      }
      paths_.push_back(std::move(own));
    }
  }

  std::vector<BytesPerSecond> run(std::span<const FlowRoute> routes) {
    constexpr double kNever = std::numeric_limits<double>::infinity();
    std::vector<BytesPerSecond> rates(routes.size(), BytesPerSecond(kNever));
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < routes.size(); ++i) {
      if (!paths_[i].empty()) open.push_back(i);
    }
    while (!open.empty()) {
      double level = kNever;  // at which the next link is full
      for (const FilledLink& link : links_) {
        if (link.open > 0) level = std::min(level, link.room / link.open);
      }
      std::vector<std::size_t> still;
      std::vector<std::size_t> closed;
      for (const std::size_t i : open) {
        const bool full = std::ranges::any_of(paths_[i], [&](int link) {
          const FilledLink& filled = links_[at(link)];
          return filled.room <= level * filled.open * (1 + kSame);
        });
        (full ? closed : still).push_back(i);
      }
      for (const std::size_t i : closed) {
        rates[i] = BytesPerSecond(level);
        for (const int link : paths_[i]) {
          links_[at(link)].room = std::max(0.0, links_[at(link)].room - level * routes[i].flows);
          links_[at(link)].open -= routes[i].flows;
        }
      }
      open = std::move(still);
    }
    return rates;
  }

 private:
  struct FilledLink {
    double room;  // bandwidth that closed transfers leave
    double open;  // transfers that still rise
  };
  std::vector<FilledLink> links_;
  std::vector<std::vector<int>> paths_;  // [route] links
};

/// Transfers of one route, by size.
struct Bundle {
  FlowRoute route;
  std::vector<std::size_t> order;  // transfers, smallest first
  std::size_t done = 0;
  double sent = 0;  // bytes, by each that is not done
};

std::vector<Bundle> bundles_of(std::span<const Transfer> transfers) {
  std::map<std::pair<int, int>, Bundle> by_route;
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    const Transfer& t = transfers[i];
    if (t.from_gpu == t.to_gpu || t.bytes <= Bytes(0)) continue;
    Bundle& bundle = by_route[{t.from_gpu, t.to_gpu}];
    bundle.route = {t.from_gpu, t.to_gpu, 0};
    bundle.order.push_back(i);
  }
  std::vector<Bundle> bundles;
  for (auto& [ends, bundle] : by_route) {
    std::ranges::stable_sort(bundle.order, [&](std::size_t a, std::size_t b) {
      return transfers[a].bytes < transfers[b].bytes;
    });
    bundles.push_back(std::move(bundle));
  }
  return bundles;
}

}  // namespace

std::vector<BytesPerSecond> max_min_rates(const Topology& topology,
                                          std::span<const FlowRoute> routes) {
  return Filling(topology, routes).run(routes);
}

std::vector<Seconds> finish_times(const Topology& topology, std::span<const Transfer> transfers) {
  std::vector<Seconds> finish(transfers.size());
  std::vector<Bundle> bundles = bundles_of(transfers);
  double now = 0;
  while (!bundles.empty()) {
    std::vector<FlowRoute> routes;
    for (Bundle& bundle : bundles) {
      bundle.route.flows = static_cast<double>(bundle.order.size() - bundle.done);
      routes.push_back(bundle.route);
    }
    const std::vector<BytesPerSecond> rates = max_min_rates(topology, routes);
    const auto size = [&](const Bundle& bundle) {
      return static_cast<double>(transfers[bundle.order[bundle.done]].bytes.value());
    };
    double next = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < bundles.size(); ++i) {
      next = std::min(next, (size(bundles[i]) - bundles[i].sent) / rates[i].value());
    }
    now += next;
    for (std::size_t i = 0; i < bundles.size(); ++i) {
      Bundle& bundle = bundles[i];
      const double sent = bundle.sent + next * rates[i].value();
      const bool done = size(bundle) <= sent * (1 + kSame);
      bundle.sent = done ? size(bundle) : sent;
      while (bundle.done < bundle.order.size() && size(bundle) <= bundle.sent) {
        const Transfer& t = transfers[bundle.order[bundle.done]];
        finish[bundle.order[bundle.done++]] = Seconds(now) + topology.latency(t.from_gpu, t.to_gpu);
      }
    }
    std::erase_if(bundles, [](const Bundle& b) { return b.done == b.order.size(); });
  }
  return finish;
}

Seconds transfer_time(const Topology& topology, std::span<const Transfer> transfers) {
  Seconds last;
  for (const Seconds time : finish_times(topology, transfers)) last = std::max(last, time);
  return last;
}

}  // namespace moesim
