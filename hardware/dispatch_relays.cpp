#include "hardware/dispatch_relays.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "hardware/dispatch_curve.h"
#include "hardware/dispatch_loads.h"
#include "hardware/dispatch_pairs.h"
#include "hardware/expert_traffic.h"
#include "sim/base/check.h"

namespace moesim {

namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

/// Ids and weights of top_k experts go with a token: 8 + 4 bytes each (serving-semantics 3.4 (c)).
constexpr double kIndexBytes = 12;

// Fitted to what is published (tests/hardware/dispatch_published_test.cpp): start from 2 tokens a
// rank over 1, 2 and 8 nodes, transmit and notify (AIConfigurator tables, H100, DeepEP 0.5.6 and
// 0.5.12: 26 and 49, 57 and 84, 125 and 150 us); efficiencies from 4096 tokens over 8 to 64 GPUs
// (DeepEP README 2025-03, H800).
struct Start {
  double one_node_us, two_nodes_us;
  [[nodiscard]] double of(double nodes) const {
    return nodes > 1 ? two_nodes_us * std::sqrt(nodes / 2) : one_node_us;
  }
};
constexpr Start kDispatchStart{26, 57}, kCombineStart{49, 84};
constexpr WireEfficiency kEfficiency{.inside = 0.87, .between = 0.92};
constexpr double kSpread = 0.06;  // of the eight published times

/// The tables over 8 nodes are of a congested cluster: combine waits as long as it transmits, and
/// takes three times what a third party published for it, where the links come within a tenth
/// (dispatch_published_test.cpp). Beyond two nodes the links answer.
constexpr double kMostMeasuredNodes = 2;

/// Who is where in the group.
struct Places {
  explicit Places(const DispatchSetup& setup) : node(group_nodes(setup)) {
    members.resize(at(*std::ranges::max_element(node)) + 1);
    for (int rank = 0; rank < ranks(); ++rank) {
      std::vector<int>& own = members[at(node[at(rank)])];
      local.push_back(static_cast<int>(own.size()));
      own.push_back(rank);
      widest = std::max(widest, static_cast<int>(own.size()));
    }
  }
  [[nodiscard]] int ranks() const { return static_cast<int>(node.size()); }
  [[nodiscard]] int nodes() const { return static_cast<int>(members.size()); }
  /// The rank of a node that tokens from local index `index` arrive at.
  [[nodiscard]] int relay(int to_node, int index) const {
    const std::vector<int>& own = members[at(to_node)];
    return own[at(index) % own.size()];
  }

  std::vector<int> node, local;           // [rank]
  std::vector<std::vector<int>> members;  // [node], in rank order
  int widest = 0;                         // ranks of the largest node
};

class RelayDispatch final : public DispatchBackend {
 public:
  RelayDispatch(const DispatchSetup& setup, int sms, bool stands_in)
      : places_(setup),
        sms_(sms),
        stands_in_(stands_in),
        there_(setup, places_, false),
        back_(setup, places_, true),
        alike_(there_.rails.same_as(back_.rails) && there_.forward.same_as(back_.forward)),
        there_bytes_(setup.dispatch_token_bytes + kIndexBytes * setup.top_k),
        back_bytes_(setup.combine_token_bytes) {
    const double ranks = places_.ranks(), nodes = places_.nodes();
    const ExpertTraffic copies =
        expected_traffic({.ranks = ranks,
                          .nodes = nodes,
                          .experts = static_cast<double>(setup.experts),
                          .topk = static_cast<double>(setup.top_k),
                          .node_limit = static_cast<double>(setup.node_limit)});
    // One token a rank, experts drawn uniformly. The token's own rank and node are as likely as
    // any.
    const std::vector<double> held(at(places_.ranks()), 1.0);
    const std::vector<double> rank_copies(at(places_.ranks()), copies.to_ranks / (1 - 1 / ranks));
    const std::vector<double> node_copies(
        at(places_.nodes()), nodes > 1 ? ranks / nodes * copies.to_nodes / (1 - 1 / nodes) : ranks);
    const DispatchTraffic even{held, rank_copies, rank_copies, node_copies};
    const Moved moved = move(even);
    even_there_ = moved.there;
    even_back_ = moved.back;
    dispatch_curve_ = measured(setup, copies, true);
    combine_curve_ = measured(setup, copies, false);
  }

  DispatchCost cost(const DispatchTraffic& traffic) const override {
    const Moved moved = move(traffic);
    DispatchCost cost;
    cost.busiest_rank = moved.rank;
    cost.measured = dispatch_curve_.has_value() && combine_curve_.has_value();
    if (cost.measured) {
      cost.dispatch_ns = 1e9 * dispatch_curve_->seconds(moved.there / even_there_);
      cost.combine_ns = 1e9 * combine_curve_->seconds(moved.back / even_back_);
    } else {
      const double nodes = places_.nodes();
      cost.dispatch_ns = 1e3 * kDispatchStart.of(nodes) + 1e9 * there_bytes_ * moved.there;
      cost.combine_ns = 1e3 * kCombineStart.of(nodes) + 1e9 * back_bytes_ * moved.back;
    }
    cost.dispatch_bytes_intra = there_bytes_ * moved.intra;
    cost.dispatch_bytes_inter = there_bytes_ * moved.inter;
    cost.combine_bytes_intra = back_bytes_ * moved.intra;
    cost.combine_bytes_inter = back_bytes_ * moved.inter;
    return cost;
  }

  int sms() const override { return sms_; }
  DispatchSource source() const override {
    DispatchSource source;
    source.spread = kSpread;
    if (dispatch_curve_.has_value() && combine_curve_.has_value()) {
      source = dispatch_curve_->source();
    }
    return stands_in_ ? stand_in(source) : source;
  }
  bool routed() const override { return true; }

 private:
  /// Loads of one direction: rank to node over the network, local index to rank inside the node.
  struct Way {
    Way(const DispatchSetup& setup, const Places& places, bool back)
        : rails(*setup.topology, setup.gpus, places.ranks(), places.nodes(),
                [&](int rank, int node) {
                  if (node == places.node[at(rank)]) return ProductLoads::Route{};
                  return turned({rank, places.relay(node, places.local[at(rank)])}, back);
                }),
          forward(*setup.topology, setup.gpus, places.widest, places.ranks(),
                  [&](int index, int rank) {
                    return turned({places.relay(places.node[at(rank)], index), rank}, back);
                  }) {}
    static ProductLoads::Route turned(ProductLoads::Route route, bool back) {
      if (back) std::swap(route.from, route.to);
      return route;
    }
    ProductLoads rails, forward;
  };

  /// Seconds per byte of a token that the busiest link takes, each kind at its efficiency (the two
  /// stages run side by side, chunk by chunk), and copies that move.
  struct Moved {
    double there = 0, back = 0;
    double intra = 0, inter = 0;
    int rank = 0;
  };

  [[nodiscard]] Moved move(const DispatchTraffic& traffic) const {
    MOESIM_CHECK(traffic.held.size() == places_.node.size() &&
                     traffic.rank_copies.size() == places_.node.size() &&
                     traffic.node_copies.size() == places_.members.size(),
                 "a count for every rank and node");
    Moved moved;
    double tokens = 0;
    for (const double held : traffic.held) tokens += held;
    if (tokens <= 0) return moved;
    Scratch scratch(at(places_.ranks()) + at(places_.widest) + at(places_.nodes()));
    const std::span<double> share = scratch.span().first(at(places_.ranks()));
    const std::span<double> by_index = scratch.span().subspan(share.size(), at(places_.widest));
    const std::span<double> by_node = scratch.span().subspan(share.size() + by_index.size());
    std::ranges::fill(scratch.span(), 0.0);
    for (std::size_t rank = 0; rank < share.size(); ++rank) {
      share[rank] = traffic.held[rank] / tokens;
      by_index[at(places_.local[rank])] += share[rank];
      by_node[at(places_.node[rank])] += share[rank];
    }
    for (std::size_t rank = 0; rank < share.size(); ++rank) {
      moved.intra += traffic.rank_copies[rank] * (1 - at_home(by_index, rank));
    }
    const bool between = places_.nodes() > 1;
    for (std::size_t node = 0; between && node < by_node.size(); ++node) {
      moved.inter += traffic.node_copies[node] * (1 - by_node[node]);
    }
    busiest(there_, traffic, share, by_index, moved.there, moved.rank);
    moved.back = moved.there;
    if (alike_) return moved;
    int sender = 0;
    busiest(back_, traffic, share, by_index, moved.back, sender);
    return moved;
  }

  /// Share of a rank's tokens that arrive at the rank itself, with nothing left to forward: those
  /// of its own local index, and in a smaller node of the indices it stands in for.
  [[nodiscard]] double at_home(std::span<const double> by_index, std::size_t rank) const {
    const std::size_t width = places_.members[at(places_.node[rank])].size();
    double share = 0;
    for (std::size_t i = at(places_.local[rank]); i < by_index.size(); i += width)
      share += by_index[i];
    return share;
  }

  static void busiest(const Way& way, const DispatchTraffic& traffic, std::span<const double> share,
                      std::span<const double> by_index, double& seconds, int& rank) {
    const ProductLoads::Busy inside = way.forward.busy(by_index, traffic.rank_copies);
    seconds = std::max(inside.inside, inside.between) / kEfficiency.inside;
    rank = inside.inside_rank;
    if (way.rails.empty()) return;
    const ProductLoads::Busy rails = way.rails.busy(share, traffic.node_copies);
    const double between = std::max(rails.inside, rails.between) / kEfficiency.between;
    if (between <= seconds) return;
    seconds = between;
    rank = rails.between_rank;
  }

  [[nodiscard]] std::optional<DispatchCurve> measured(const DispatchSetup& setup,
                                                      const ExpertTraffic& copies,
                                                      bool dispatch) const {
    const double ranks = places_.ranks(), nodes = places_.nodes();
    if (nodes > kMostMeasuredNodes) return std::nullopt;
    const double bytes = dispatch ? setup.dispatch_token_bytes : setup.combine_token_bytes;
    DispatchCurve::Query query;
    query.op = "deepep_normal";
    query.kernel = std::string(nodes > 1 ? "internode_" : "") + (dispatch ? "dispatch" : "combine");
    query.dtype = dispatch ? "fp8" : "bfloat16";
    query.per_token.hidden = setup.hidden;
    query.per_token.total_experts = setup.experts;
    query.per_token.topk = setup.top_k;
    query.per_token.gpus = ranks;
    query.per_token.nodes = nodes;
    query.per_token.sms = sms_;
    query.per_token.bytes = bytes * copies.to_ranks;
    query.per_token.nic_bytes = bytes * copies.to_nodes;
    if (nodes > 1) {
      // Each rank sends one token to one other node in turn: what a NIC gives it then.
      const std::vector<double> share(at(places_.ranks()), 1 / ranks);
      const std::vector<double> each(at(places_.nodes()), ranks / (nodes - 1));
      query.nic_bandwidth = 1 / there_.rails.busy(share, each).between;
    }
    return DispatchCurve::find(setup, query);
  }

  Places places_;
  int sms_;
  bool stands_in_;
  Way there_, back_;
  bool alike_ = false;                     // both ways
  double there_bytes_, back_bytes_;        // of a token
  double even_there_ = 0, even_back_ = 0;  // seconds per byte at one token a rank
  std::optional<DispatchCurve> dispatch_curve_, combine_curve_;
};

}  // namespace

std::unique_ptr<DispatchBackend> make_relay_dispatch(const DispatchSetup& setup, int sms,
                                                     bool stands_in) {
  return std::make_unique<RelayDispatch>(setup, sms, stands_in);
}

}  // namespace moesim
