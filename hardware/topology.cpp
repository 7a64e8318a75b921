#include "hardware/topology.h"

// GCC 12 sees uninitialised edge iterators inside Boost 1.74's own loops: a false alarm.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/boykov_kolmogorov_max_flow.hpp>
#include <boost/graph/dijkstra_shortest_paths.hpp>
#include <boost/property_map/function_property_map.hpp>
#include <limits>
#include <unordered_map>
#include <utility>

#include "hardware/network.h"
#include "hardware/refuse.h"
#include "sim/base/check.h"

namespace moesim {

namespace {

using EdgeIndex = boost::property<boost::edge_index_t, int>;
using Graph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, boost::no_property,
                                    EdgeIndex>;

/// Length of a path: least latency first, then the widest bottleneck.
struct Length {
  double latency = 0;
  double seconds_per_byte = 0;  // of the narrowest link
  friend bool operator<(const Length& a, const Length& b) {
    if (a.latency != b.latency) return a.latency < b.latency;
    return a.seconds_per_byte < b.seconds_per_byte;
  }
};

struct Extend {
  Length operator()(const Length& path, const Length& link) const {
    return {path.latency + link.latency, std::max(path.seconds_per_byte, link.seconds_per_byte)};
  }
};

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

using FlowTraits = boost::adjacency_list_traits<boost::vecS, boost::vecS, boost::directedS>;
using FlowGraph = boost::adjacency_list<
    boost::vecS, boost::vecS, boost::directedS,
    boost::property<boost::vertex_index_t, long,
                    boost::property<boost::vertex_color_t, boost::default_color_type,
                                    boost::property<boost::vertex_distance_t, long,
                                                    boost::property<boost::vertex_predecessor_t,
                                                                    FlowTraits::edge_descriptor>>>>,
    boost::property<
        boost::edge_capacity_t, std::int64_t,
        boost::property<boost::edge_residual_capacity_t, std::int64_t,
                        boost::property<boost::edge_reverse_t, FlowTraits::edge_descriptor>>>>;

void add_flow_edge(FlowGraph& graph, int from, int to, std::int64_t capacity) {
  const auto forward = boost::add_edge(at(from), at(to), graph).first;
  const auto backward = boost::add_edge(at(to), at(from), graph).first;
  boost::put(boost::edge_capacity, graph, forward, capacity);
  boost::put(boost::edge_capacity, graph, backward, 0);
  boost::put(boost::edge_reverse, graph, forward, backward);
  boost::put(boost::edge_reverse, graph, backward, forward);
}

}  // namespace

struct Topology::Impl {
  Network network;
  Graph graph;
  std::vector<CollectiveLatencies> node_latencies;
  std::vector<Seconds> node_p2p;
  std::vector<bool> node_nvlink, node_peer_access;
  std::vector<int> node_sm_version;
  // Filled on demand: link leading to each vertex on the best path from a GPU; paths by (from, to).
  std::vector<std::vector<int>> arrivals;
  std::unordered_map<std::uint64_t, std::vector<int>> paths;

  explicit Impl(const ClusterSpec& cluster) : network(expand(cluster)) {
    graph = Graph(network.vertices.size());
    for (std::size_t i = 0; i < network.links.size(); ++i) {
      boost::add_edge(at(network.links[i].from), at(network.links[i].to),
                      EdgeIndex(static_cast<int>(i)), graph);
    }
    for (const NodeGroup* group : network.node_group) {
      node_latencies.push_back(group->system.collectives);
      node_p2p.push_back(group->system.node.p2p_latency);
      node_nvlink.push_back(group->system.node.nvlink);
      node_peer_access.push_back(group->system.node.peer_access);
      node_sm_version.push_back(group->system.gpu.sm_version);
    }
    network.node_group.clear();  // the ClusterSpec may go
    arrivals.resize(network.gpu_vertex.size());
    if (cluster.network.preset == NetworkPreset::kExplicit) check_connected();
  }

  [[nodiscard]] bool is_gpu(int vertex) const {
    return network.vertices[at(vertex)].kind == VertexKind::kGpu;
  }

  /// Marks what a GPU reaches without passing through another GPU.
  [[nodiscard]] std::vector<bool> reached_from(int gpu) const {
    const int source = network.gpu_vertex[at(gpu)];
    std::vector<bool> seen(network.vertices.size(), false);
    std::vector<int> stack{source};
    seen[at(source)] = true;
    while (!stack.empty()) {
      const int vertex = stack.back();
      stack.pop_back();
      if (is_gpu(vertex) && vertex != source) continue;
      for (const auto edge : boost::make_iterator_range(boost::out_edges(at(vertex), graph))) {
        const auto next = boost::target(edge, graph);
        if (seen[next]) continue;
        seen[next] = true;
        stack.push_back(static_cast<int>(next));
      }
    }
    return seen;
  }

  /// Presets are connected by construction; an explicit graph is checked from every GPU.
  void check_connected() const {
    for (std::size_t from = 0; from < network.gpu_vertex.size(); ++from) {
      const std::vector<bool> seen = reached_from(static_cast<int>(from));
      for (const int vertex : network.gpu_vertex) {
        if (seen[at(vertex)]) continue;
        refuse(Where(), "system.network.graph",
               network.vertices[at(network.gpu_vertex[from])].name + " cannot reach " +
                   network.vertices[at(vertex)].name,
               "add an edge; paths go through switches and NICs, not through GPUs");
      }
    }
  }

  /// Best paths from one GPU to every vertex, as the link that arrives there (-1: none).
  const std::vector<int>& arrivals_from(int gpu) {
    std::vector<int>& arrival = arrivals[at(gpu)];
    if (!arrival.empty()) return arrival;
    const int source = network.gpu_vertex[at(gpu)];
    const auto index = boost::get(boost::edge_index, graph);
    constexpr double kNever = std::numeric_limits<double>::infinity();
    const auto length_of = [&](const Graph::edge_descriptor& edge) {
      const Link& link = network.links[at(index[edge])];
      if (is_gpu(link.from) && link.from != source) return Length{kNever, kNever};
      return Length{link.latency.value(), 1.0 / link.bandwidth.value()};
    };
    std::vector<Length> distance(network.vertices.size());
    std::vector<std::size_t> predecessor(network.vertices.size());
    boost::dijkstra_shortest_paths(
        graph, at(source),
        boost::weight_map(
            boost::make_function_property_map<Graph::edge_descriptor, Length>(length_of))
            .distance_map(boost::make_iterator_property_map(distance.begin(),
                                                            boost::get(boost::vertex_index, graph)))
            .predecessor_map(boost::make_iterator_property_map(
                predecessor.begin(), boost::get(boost::vertex_index, graph)))
            .distance_compare(std::less<Length>())
            .distance_combine(Extend())
            .distance_inf(Length{kNever, kNever})
            .distance_zero(Length{}));
    arrival = best_links(distance, predecessor, length_of);
    return arrival;
  }

  /// Parallel cables: of the links from the predecessor, the one whose length fits.
  template <class LengthOf>
  std::vector<int> best_links(const std::vector<Length>& distance,
                              const std::vector<std::size_t>& predecessor,
                              const LengthOf& length_of) const {
    std::vector<int> arrival(distance.size(), -1);
    const auto index = boost::get(boost::edge_index, graph);
    for (const auto edge : boost::make_iterator_range(boost::edges(graph))) {
      const auto from = boost::source(edge, graph);
      const auto to = boost::target(edge, graph);
      if (predecessor[to] != from || from == to || arrival[to] >= 0) continue;
      if (!(distance[to] < Extend()(distance[from], length_of(edge)))) arrival[to] = index[edge];
    }
    return arrival;
  }

  const std::vector<int>& path(int from, int to) {
    const auto key = (static_cast<std::uint64_t>(from) << 32) | static_cast<std::uint32_t>(to);
    const auto found = paths.find(key);
    if (found != paths.end()) return found->second;
    std::vector<int> links;
    if (from != to) {
      const std::vector<int>& arrival = arrivals_from(from);
      const int source = network.gpu_vertex[at(from)];
      for (int vertex = network.gpu_vertex[at(to)]; vertex != source;) {
        const int link = arrival[at(vertex)];
        MOESIM_CHECK(link >= 0, "GPUs are connected");
        links.push_back(link);
        vertex = network.links[at(link)].from;
      }
      std::reverse(links.begin(), links.end());
    }
    return paths.emplace(key, std::move(links)).first->second;
  }

  /// What can flow from the GPUs marked true to the others.
  [[nodiscard]] BytesPerSecond flow(const std::vector<bool>& sends) const {
    const int vertices = static_cast<int>(network.vertices.size());
    FlowGraph flows(at(vertices + 2));
    std::vector<std::int64_t> room(at(vertices), 0);
    for (const Link& link : network.links) {
      const auto capacity = static_cast<std::int64_t>(link.bandwidth.value());
      add_flow_edge(flows, link.from, link.to, capacity);
      room[at(link.from)] += capacity;
    }
    for (std::size_t gpu = 0; gpu < sends.size(); ++gpu) {
      const int vertex = network.gpu_vertex[gpu];
      if (sends[gpu]) {
        add_flow_edge(flows, vertices, vertex, room[at(vertex)]);
      } else {
        add_flow_edge(flows, vertex, vertices + 1, room[at(vertex)]);
      }
    }
    return BytesPerSecond(static_cast<double>(
        boost::boykov_kolmogorov_max_flow(flows, at(vertices), at(vertices + 1))));
  }

  /// `side` tells for each part (a node; a GPU if there is one node) on which half it is.
  [[nodiscard]] BytesPerSecond flow_between(const std::vector<bool>& side, bool by_node) const {
    std::vector<bool> sends(network.gpu_vertex.size());
    for (std::size_t gpu = 0; gpu < sends.size(); ++gpu) {
      sends[gpu] = side[by_node ? at(network.gpu_node[gpu]) : gpu];
    }
    return flow(sends);
  }
};

Topology::Topology(const ClusterSpec& cluster) : impl_(std::make_unique<Impl>(cluster)) {}
Topology::Topology(Topology&&) noexcept = default;
Topology& Topology::operator=(Topology&&) noexcept = default;
Topology::~Topology() = default;

int Topology::gpus() const {
  return static_cast<int>(impl_->network.gpu_vertex.size());
}

int Topology::node_of(int gpu) const {
  return impl_->network.gpu_node[at(gpu)];
}

const std::vector<Vertex>& Topology::vertices() const {
  return impl_->network.vertices;
}

const std::vector<Link>& Topology::links() const {
  return impl_->network.links;
}

const std::vector<int>& Topology::path(int from_gpu, int to_gpu) const {
  MOESIM_CHECK(from_gpu >= 0 && from_gpu < gpus() && to_gpu >= 0 && to_gpu < gpus(),
               "GPU numbers lie inside the cluster");
  return impl_->path(from_gpu, to_gpu);
}

BytesPerSecond Topology::bottleneck(int from_gpu, int to_gpu) const {
  BytesPerSecond least(std::numeric_limits<double>::infinity());
  for (const int link : path(from_gpu, to_gpu))
    least = std::min(least, links()[at(link)].bandwidth);
  return least;
}

Seconds Topology::latency(int from_gpu, int to_gpu) const {
  Seconds sum;
  for (const int link : path(from_gpu, to_gpu)) sum += links()[at(link)].latency;
  return sum;
}

// Halvings are too many to try beyond eight parts. The presets fill leaves in node order, so the
// first half against the second is the worst there; even against odd is tried too, for explicit
// graphs that interleave.
BytesPerSecond Topology::bisection() const {
  const bool by_node = impl_->network.gpu_node.back() > 0;
  const int parts = by_node ? impl_->network.gpu_node.back() + 1 : gpus();
  BytesPerSecond worst(std::numeric_limits<double>::infinity());
  if (parts < 2) return worst;
  std::vector<bool> side(at(parts), false);
  std::fill(side.begin() + parts / 2, side.end(), true);
  constexpr int kAll = 8;
  if (parts <= kAll) {
    do {
      worst = std::min(worst, impl_->flow_between(side, by_node));
    } while (std::next_permutation(side.begin(), side.end()));
    return worst;
  }
  worst = std::min(worst, impl_->flow_between(side, by_node));
  for (int i = 0; i < parts; ++i) side[at(i)] = i % 2 == 0;
  return std::min(worst, impl_->flow_between(side, by_node));
}

bool Topology::nvlink_connected(std::span<const int> gpus) const {
  return node_count(gpus) <= 1 && (gpus.empty() || impl_->node_nvlink[at(node_of(gpus.front()))]);
}

bool Topology::peer_access(std::span<const int> gpus) const {
  return node_count(gpus) <= 1 &&
         (gpus.empty() || impl_->node_peer_access[at(node_of(gpus.front()))]);
}

int Topology::node_count(std::span<const int> gpus) const {
  std::vector<int> nodes;
  for (const int gpu : gpus) nodes.push_back(node_of(gpu));
  std::sort(nodes.begin(), nodes.end());
  return static_cast<int>(std::unique(nodes.begin(), nodes.end()) - nodes.begin());
}

CollectiveLatencies Topology::latencies(std::span<const int> gpus) const {
  CollectiveLatencies slowest;
  for (const int gpu : gpus) {
    const CollectiveLatencies& own = impl_->node_latencies[at(node_of(gpu))];
    slowest.custom_all_reduce = std::max(slowest.custom_all_reduce, own.custom_all_reduce);
    slowest.nccl = std::max(slowest.nccl, own.nccl);
    slowest.cross_node = std::max(slowest.cross_node, own.cross_node);
  }
  return slowest;
}

int Topology::sm_version(std::span<const int> gpus) const {
  int oldest = std::numeric_limits<int>::max();
  for (const int gpu : gpus) oldest = std::min(oldest, impl_->node_sm_version[at(node_of(gpu))]);
  return oldest;
}

Seconds Topology::p2p_latency(int gpu) const {
  return impl_->node_p2p[at(node_of(gpu))];
}

}  // namespace moesim
