#include "tests/reference/plain_messages.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace moesim::reference {

namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

/// Messages by (from rank, to rank). Pairs that could send and do not are there with a zero.
using Flows = std::map<std::pair<int, int>, double>;

Flows turned(const Flows& flows) {
  Flows back;
  for (const auto& [ends, count] : flows) back[{ends.second, ends.first}] += count;
  return back;
}

/// The longest any link is busy, links that only cross nodes apart from the others.
struct Busy {
  double inside_s = 0, between_s = 0;
  double bytes = 0;  ///< on the link that is busy longest
};
Busy busiest(const PlainGroup& group, const Flows& flows, double message_bytes) {
  struct Use {
    double bytes = 0;
    bool inside = false;
  };
  std::map<int, Use> links;
  for (const auto& [ends, count] : flows) {
    const int from = group.gpus[at(ends.first)], to = group.gpus[at(ends.second)];
    for (const int link : group.topology->path(from, to)) {
      Use& use = links[link];
      use.bytes += count * message_bytes;
      use.inside = use.inside || group.topology->node_of(from) == group.topology->node_of(to);
    }
  }
  Busy busy;
  double longest = 0;
  for (const auto& [link, use] : links) {
    const double seconds = use.bytes / group.topology->links()[at(link)].bandwidth.value();
    double& most = use.inside ? busy.inside_s : busy.between_s;
    most = std::max(most, seconds);
    if (seconds <= longest) continue;
    longest = seconds;
    busy.bytes = use.bytes;
  }
  return busy;
}

/// Adds the flows' bytes by kind of link.
void count_bytes(const std::vector<int>& nodes, const Flows& flows, double bytes, double& intra,
                 double& inter) {
  for (const auto& [ends, count] : flows)
    (nodes[at(ends.first)] == nodes[at(ends.second)] ? intra : inter) += count * bytes;
}

/// Rank i sends held_i / sum(held) of what rank j gets.
Flows pair_flows(const std::vector<double>& held, const std::vector<double>& gets) {
  Flows flows;
  const double all = sum(held);
  for (int i = 0; i < static_cast<int>(held.size()); ++i) {
    for (int j = 0; j < static_cast<int>(held.size()); ++j) {
      if (i != j) flows[{i, j}] = all > 0 ? held[at(i)] / all * gets[at(j)] : 0;
    }
  }
  return flows;
}

/// A library of messages from rank to rank: start, header and reach of links, each as fitted where
/// its backend is (hardware/dispatchers).
struct PairLibrary {
  bool per_expert = true;
  double header = 0;
  double there_us = 0, back_us = 0, us_per_token = 0;
  double there_inside = 1, there_between = 1, back_inside = 1, back_between = 1;
  bool to_itself = false;  ///< what a rank keeps takes the same way
};

PairLibrary pair_library(const std::string& backend, int ranks, bool between) {
  const double doublings = std::log2(static_cast<double>(ranks));
  PairLibrary lib;
  if (backend == "pplx") {
    lib = {.header = 16,
           .there_us = between ? 116.0 : 42.0,
           .back_us = between ? 60.0 : 42.0,
           .there_inside = 0.48,
           .there_between = 0.6,
           .back_inside = 0.65,
           .back_between = 0.55};
  } else if (backend == "flashinfer_nvlink_one_sided") {
    lib = {.per_expert = false,
           .there_us = 11 + 2 * doublings,
           .back_us = 13 + 3 * doublings,
           .there_inside = 0.96,
           .back_inside = 0.96,
           .to_itself = true};
  } else if (backend == "flashinfer_nvlink_two_sided") {
    lib = {.per_expert = false,
           .there_us = 22 + doublings,
           .back_us = 10.5 + doublings,
           .us_per_token = 1.0 / 145,
           .there_inside = 0.80,
           .back_inside = 0.74,
           .to_itself = true};
  } else {  // DeepEP's low-latency kernels and those taken for them
    const double start = between ? 26 : 14;
    lib = {.header = 16,
           .there_us = start,
           .back_us = start,
           .there_inside = 0.73,
           .there_between = 0.9,
           .back_inside = 0.73,
           .back_between = 0.9};
  }
  return lib;
}

PlainMessages pairs(const std::string& backend, const PlainGroup& group, const PlainTraffic& t) {
  const std::vector<int> nodes = group.nodes();
  const int ranks = static_cast<int>(group.gpus.size());
  const bool between = *std::ranges::max_element(nodes) > 0;
  const PairLibrary lib = pair_library(backend, ranks, between);
  const Flows there = pair_flows(t.held, lib.per_expert ? t.slots : t.rank_copies);
  const Flows back = turned(there);
  const double there_bytes = group.there_bytes + lib.header, back_bytes = group.back_bytes;
  const Busy go = busiest(group, there, there_bytes), come = busiest(group, back, back_bytes);
  const double itself = lib.to_itself ? ranks / (ranks - 1.0) : 1;
  PlainMessages out;
  out.busiest_link_bytes = go.bytes;
  out.dispatch_ns =
      1e3 * (lib.there_us + lib.us_per_token * *std::ranges::max_element(t.held)) +
      1e9 * itself * std::max(go.inside_s / lib.there_inside, go.between_s / lib.there_between);
  out.combine_ns =
      1e3 * lib.back_us +
      1e9 * itself * std::max(come.inside_s / lib.back_inside, come.between_s / lib.back_between);
  count_bytes(nodes, there, there_bytes, out.dispatch_intra, out.dispatch_inter);
  count_bytes(nodes, back, back_bytes, out.combine_intra, out.combine_inter);
  return out;
}

/// NCCL's sends and receives of a copy per (token, expert): the best of three protocols
/// (hardware/link_loads.h), an exchange of sizes before them, for which the host waits 50 us.
PlainMessages nccl(const PlainGroup& group, const PlainTraffic& t) {
  const std::vector<int> nodes = group.nodes();
  double hop = 0;
  for (const int a : group.gpus) {
    for (const int b : group.gpus) hop = std::max(hop, group.topology->latency(a, b).value());
  }
  const double peers = static_cast<double>(group.gpus.size()) - 1;
  const double hops = (3.2 + 0.12 * peers) * hop;
  const CollectiveLatencies fixed = group.topology->latencies(group.gpus);
  const bool between = *std::ranges::max_element(nodes) > 0;
  const double start = fixed.nccl.value() + (between ? fixed.cross_node.value() : 0);
  const auto seconds = [&](double busy) {
    return start + std::min({hops + busy / 0.07, 1.45 * hops + busy / 0.57, 6 * hops + busy});
  };
  const double there_bytes = group.there_bytes + 8;
  const Flows there = pair_flows(t.held, t.slots), back = turned(there);
  const Busy go = busiest(group, there, there_bytes), come = busiest(group, back, group.back_bytes);
  PlainMessages out;
  out.busiest_link_bytes = go.bytes;
  out.dispatch_ns = 1e9 * (seconds(0) + 50e-6 + seconds(std::max(go.inside_s, go.between_s)));
  out.combine_ns = 1e9 * seconds(std::max(come.inside_s, come.between_s));
  count_bytes(nodes, there, there_bytes, out.dispatch_intra, out.dispatch_inter);
  count_bytes(nodes, back, group.back_bytes, out.combine_intra, out.combine_inter);
  return out;
}

/// DeepEP's high-throughput kernels: a token crosses to the GPU of its own local index once per
/// node, which hands it to each rank of that node that needs it.
PlainMessages relays(const PlainGroup& group, const PlainTraffic& t) {
  const std::vector<int> nodes = group.nodes();
  const int ranks = static_cast<int>(nodes.size());
  const int node_count = *std::ranges::max_element(nodes) + 1;
  std::vector<std::vector<int>> members(at(node_count));
  std::vector<int> local;
  for (int r = 0; r < ranks; ++r) {
    local.push_back(static_cast<int>(members[at(nodes[at(r)])].size()));
    members[at(nodes[at(r)])].push_back(r);
  }
  const double all = sum(t.held);
  Flows rails, forward;
  for (int i = 0; i < ranks && all > 0; ++i) {
    const double share = t.held[at(i)] / all;
    for (int n = 0; n < node_count; ++n) {
      const std::vector<int>& own = members[at(n)];
      const int relay = own[at(local[at(i)]) % own.size()];
      if (n != nodes[at(i)]) rails[{i, relay}] += share * t.node_copies[at(n)];
      for (const int j : own) {
        if (j != relay) forward[{relay, j}] += share * t.rank_copies[at(j)];
      }
    }
  }
  const double there_bytes = group.there_bytes + 12 * group.top_k;
  const double more = node_count > 1 ? std::sqrt(node_count / 2.0) : 1;
  const auto transmit = [&](const Flows& net, const Flows& node, double bytes) {
    const Busy by_rail = busiest(group, net, bytes), inside = busiest(group, node, bytes);
    return 1e9 * std::max(std::max(inside.inside_s, inside.between_s) / 0.87,
                          std::max(by_rail.inside_s, by_rail.between_s) / 0.92);
  };
  PlainMessages out;
  out.busiest_link_bytes = std::max(busiest(group, rails, there_bytes).bytes,
                                    busiest(group, forward, there_bytes).bytes);
  out.dispatch_ns = 1e3 * (node_count > 1 ? 57 * more : 26) + transmit(rails, forward, there_bytes);
  out.combine_ns = 1e3 * (node_count > 1 ? 84 * more : 49) +
                   transmit(turned(rails), turned(forward), group.back_bytes);
  count_bytes(nodes, rails, there_bytes, out.dispatch_intra, out.dispatch_inter);
  count_bytes(nodes, forward, there_bytes, out.dispatch_intra, out.dispatch_inter);
  count_bytes(nodes, turned(rails), group.back_bytes, out.combine_intra, out.combine_inter);
  count_bytes(nodes, turned(forward), group.back_bytes, out.combine_intra, out.combine_inter);
  return out;
}

/// Hops of rings through each TP index's ranks, once around.
std::vector<std::vector<int>> rings(const PlainGroup& group) {
  const std::size_t stride = group.sequence_parallel ? 1 : at(group.tp);
  std::vector<std::vector<int>> out(stride);
  for (std::size_t i = 0; i < group.gpus.size(); ++i) out[i % stride].push_back(group.gpus[i]);
  for (std::vector<int>& ring : out) std::ranges::sort(ring);
  return out;
}

double ring_seconds(const Topology& topology, const std::vector<std::vector<int>>& all) {
  std::map<int, double> load;
  for (const std::vector<int>& ring : all) {
    for (std::size_t i = 0; i < ring.size(); ++i) {
      for (const int link : topology.path(ring[i], ring[(i + 1) % ring.size()])) load[link] += 1;
    }
  }
  double longest = 0;
  for (const auto& [link, share] : load)
    longest = std::max(longest, share / topology.links()[at(link)].bandwidth.value());
  return longest;
}

/// Every token to every rank: an all-gather and a reduce-scatter, or broadcasts in turn and an
/// all-reduce. Rings of all TP indices share the links.
PlainMessages gathers(bool naive, const PlainGroup& group, const PlainTraffic& t) {
  const Topology& topology = *group.topology;
  const std::vector<std::vector<int>> all = rings(group);
  std::vector<int> gpus;
  std::vector<double> held;
  for (std::size_t i = 0; i < group.gpus.size(); i += all.size()) {
    gpus.push_back(group.gpus[i]);
    held.push_back(t.held[i]);
  }
  const double shared = ring_seconds(topology, all) / ring_seconds(topology, {all.front()});
  const auto ns = [&](CollectiveKind kind, double bytes) {
    const Bytes size(static_cast<std::int64_t>(std::llround(bytes * shared)));
    return 1e9 * group.collectives->cost({kind, size, gpus}).time.value();
  };
  const double tokens = sum(held), n = static_cast<double>(gpus.size());
  const bool even = std::ranges::all_of(held, [&](double h) { return h == held.front(); });
  PlainMessages out;
  double there = group.there_bytes + (naive ? 0 : 8 * group.top_k), back = group.back_bytes;
  if (naive) {
    for (const double h : held) {
      out.dispatch_ns += ns(CollectiveKind::kBroadcast, h * there) +
                         ns(CollectiveKind::kBroadcast, h * 2 * group.experts);
    }
    out.combine_ns = ns(CollectiveKind::kAllReduce, tokens * back);
    there += 2 * group.experts;
    back *= 2;
  } else {
    double hop = 0;
    for (const int a : gpus) {
      for (const int b : gpus) hop = std::max(hop, topology.latency(a, b).value());
    }
    const double ragged = even ? 0 : n * 0.12 * hop * 1e9;
    out.dispatch_ns = ns(CollectiveKind::kAllGather, tokens * there) + ragged;
    out.combine_ns = ns(CollectiveKind::kReduceScatter, tokens * back) + ragged;
  }
  double between = 0;
  for (std::size_t i = 0; i < all.front().size(); ++i) {
    const int next = all.front()[(i + 1) % all.front().size()];
    between += topology.node_of(all.front()[i]) != topology.node_of(next) ? 1 : 0;
  }
  const double moved = tokens * (n - 1) * static_cast<double>(all.size());
  out.dispatch_inter = moved * there * between / n;
  out.dispatch_intra = moved * there - out.dispatch_inter;
  out.combine_inter = moved * back * between / n;
  out.combine_intra = moved * back - out.combine_inter;
  return out;
}

}  // namespace

std::vector<int> PlainGroup::nodes() const {
  std::vector<int> node, known;
  for (const int gpu : gpus) {
    const int own = topology->node_of(gpu);
    if (std::ranges::find(known, own) == known.end()) known.push_back(own);
    node.push_back(static_cast<int>(std::ranges::find(known, own) - known.begin()));
  }
  return node;
}

PlainMessages plain_messages(const std::string& backend, const PlainGroup& group,
                             const PlainTraffic& traffic) {
  if (backend == "naive" || backend == "allgather_reducescatter")
    return gathers(backend == "naive", group, traffic);
  if (backend == "nccl_all_to_all") return nccl(group, traffic);
  if (backend == "deepep_high_throughput" || backend == "deepep_v2" ||
      backend == "mori_high_throughput") {
    return relays(group, traffic);
  }
  for (const char* const known : {"pplx", "deepep_low_latency", "mori_low_latency", "nixl_ep",
                                  "flashinfer_nvlink_one_sided", "flashinfer_nvlink_two_sided"}) {
    if (backend == known) return pairs(backend, group, traffic);
  }
  throw std::runtime_error("the reference does not know backend " + backend);
}

}  // namespace moesim::reference
