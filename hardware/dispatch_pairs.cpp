#include "hardware/dispatch_pairs.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moesim {

namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

/// The longest any link is busy, each kind at its efficiency; with whose it is.
struct Longest {
  double seconds = 0;  // per byte of a message
  int rank = 0;
};
Longest longest(const ProductLoads::Busy& busy, const WireEfficiency& efficiency) {
  const double inside = busy.inside / efficiency.inside;
  const double between = busy.between / efficiency.between;
  return between > inside ? Longest{between, busy.between_rank} : Longest{inside, busy.inside_rank};
}

class PairDispatch final : public DispatchBackend {
 public:
  PairDispatch(const DispatchSetup& setup, PairModel model)
      : traffic_(setup),
        model_(std::move(model)),
        there_bytes_(setup.dispatch_token_bytes + model_.header_bytes),
        back_bytes_(setup.combine_token_bytes) {
    const PairTraffic::Result even = traffic_.even(setup.top_k);
    even_there_ = longest(even.there, model_.dispatch).seconds;
    even_back_ = longest(even.back, model_.combine).seconds;
    top_k_ = setup.top_k;
    if (model_.copies_to_itself) itself_ = traffic_.ranks() / (traffic_.ranks() - 1.0);
  }

  DispatchCost cost(const DispatchTraffic& traffic) const override {
    const PairTraffic::Result moved =
        traffic_.of(traffic.held, model_.per_expert ? traffic.slots : traffic.rank_copies);
    const Longest there = longest(moved.there, model_.dispatch);
    const double back = longest(moved.back, model_.combine).seconds;
    DispatchCost cost;
    cost.busiest_rank = there.rank;
    cost.measured = model_.dispatch_curve.has_value() && model_.combine_curve.has_value();
    if (cost.measured) {
      cost.dispatch_ns = 1e9 * model_.dispatch_curve->seconds(there.seconds / even_there_);
      cost.combine_ns = 1e9 * model_.combine_curve->seconds(back / even_back_);
    } else {
      cost.dispatch_ns = 1e3 * (model_.dispatch_start_us +
                                model_.us_per_token * *std::ranges::max_element(traffic.held)) +
                         1e9 * itself_ * there_bytes_ * there.seconds;
      cost.combine_ns = 1e3 * model_.combine_start_us + 1e9 * itself_ * back_bytes_ * back;
    }
    cost.dispatch_bytes_intra = there_bytes_ * moved.intra;
    cost.dispatch_bytes_inter = there_bytes_ * moved.inter;
    cost.combine_bytes_intra = back_bytes_ * moved.intra;
    cost.combine_bytes_inter = back_bytes_ * moved.inter;
    return cost;
  }

  DispatchSource source() const override {
    const bool measured = model_.dispatch_curve.has_value() && model_.combine_curve.has_value();
    DispatchSource source;
    source.spread = model_.spread;
    if (measured) source = model_.dispatch_curve->source();
    return model_.stands_in ? stand_in(source) : source;
  }
  bool routed() const override { return true; }

  bool needs_copies() const override { return !model_.per_expert; }
  MessageKernels kernels(double tokens) const override {
    const auto ns = [&](const PairModel::Kernels& both, double bytes) {
      if (both.bytes_per_us == 0) return 0.0;
      return 1e3 * (both.start_us + tokens * top_k_ * bytes / both.bytes_per_us);
    };
    return {ns(model_.dispatch_kernels, there_bytes_ - model_.header_bytes),
            ns(model_.combine_kernels, back_bytes_)};
  }

 private:
  PairTraffic traffic_;
  PairModel model_;
  double there_bytes_, back_bytes_;        // of a message
  double even_there_ = 0, even_back_ = 0;  // seconds per byte at one token a rank
  double itself_ = 1;
  int top_k_ = 0;
};

/// A measured direction of the low-latency kernels. Messages carry what the tables' do: the payload
/// without the header.
std::optional<DispatchCurve> measured(const DispatchSetup& setup, bool dispatch) {
  const PairTraffic traffic(setup);
  const double ranks = traffic.ranks(), nodes = traffic.nodes(), topk = setup.top_k;
  const double outside = topk * (1 - 1 / nodes);
  const double bytes = dispatch ? setup.dispatch_token_bytes : setup.combine_token_bytes;
  DispatchCurve::Query query;
  query.op = "deepep_ll";
  query.kernel = std::string(nodes > 1 ? "internode_" : "") + (dispatch ? "dispatch" : "combine");
  query.dtype = dispatch ? "fp8" : "bfloat16";
  query.per_token.hidden = setup.hidden;
  query.per_token.total_experts = setup.experts;
  query.per_token.topk = topk;
  query.per_token.gpus = ranks;
  query.per_token.nodes = nodes;
  query.per_token.bytes = bytes * topk * (1 - 1 / ranks);
  query.per_token.nic_bytes = bytes * outside;
  if (nodes > 1) query.nic_bandwidth = outside / traffic.even(topk).there.between;
  return DispatchCurve::find(setup, query);
}

}  // namespace

std::vector<int> group_nodes(const DispatchSetup& setup) {
  std::vector<int> cluster, node;
  for (const int gpu : setup.gpus) {
    const int own = setup.topology->node_of(gpu);
    const auto found = std::ranges::find(cluster, own);
    node.push_back(static_cast<int>(found - cluster.begin()));
    if (found == cluster.end()) cluster.push_back(own);
  }
  return node;
}

PairTraffic::PairTraffic(const DispatchSetup& setup)
    : node_(group_nodes(setup)),
      nodes_(*std::ranges::max_element(node_) + 1),
      there_(*setup.topology, setup.gpus, ranks(), ranks(),
             [](int from, int to) {
               return ProductLoads::Route{from, to};
             }),
      back_(*setup.topology, setup.gpus, ranks(), ranks(),
            [](int from, int to) {
              return ProductLoads::Route{to, from};
            }),
      alike_(there_.same_as(back_)) {}

PairTraffic::Result PairTraffic::of(std::span<const double> held,
                                    std::span<const double> copies) const {
  MOESIM_CHECK(held.size() == node_.size() && copies.size() == node_.size(),
               "a count for every rank");
  Result result;
  double tokens = 0, all = 0, own = 0;
  for (std::size_t rank = 0; rank < held.size(); ++rank) {
    tokens += held[rank];
    all += copies[rank];
    own += held[rank] * copies[rank];
  }
  if (tokens <= 0) return result;
  Scratch scratch(2 * at(nodes_) + node_.size());
  const std::span<double> node_held = scratch.span().first(at(nodes_));
  const std::span<double> node_copies = scratch.span().subspan(at(nodes_), at(nodes_));
  const std::span<double> share = scratch.span().subspan(2 * at(nodes_));
  std::ranges::fill(scratch.span().first(2 * at(nodes_)), 0.0);
  for (std::size_t rank = 0; rank < held.size(); ++rank) {
    share[rank] = held[rank] / tokens;
    node_held[at(node_[rank])] += share[rank];
    node_copies[at(node_[rank])] += copies[rank];
  }
  double inside = 0;
  for (int node = 0; node < nodes_; ++node) inside += node_held[at(node)] * node_copies[at(node)];
  result.intra = inside - own / tokens;
  result.inter = nodes_ > 1 ? all - inside : 0;
  result.there = there_.busy(share, copies);
  result.back = alike_ ? result.there : back_.busy(share, copies);
  return result;
}

PairTraffic::Result PairTraffic::even(double copies) const {
  const std::vector<double> held(node_.size(), 1.0), got(node_.size(), copies);
  return of(held, got);
}

std::unique_ptr<DispatchBackend> make_pair_dispatch(const DispatchSetup& setup, PairModel model) {
  return std::make_unique<PairDispatch>(setup, std::move(model));
}

// What holds the GPU of 128 tokens, top-8, hidden 7168: 60 us of a dispatch (SGLang's unit test of
// DeepEP, lmsys.org 2025-05-05), 40 + 10 us of a combine (deepseek-ai/DeepEP pull request 425,
// eight ranks of a Hopper node alike within 3 us; its dispatch, of a later algorithm, 37 + 33 us).
// One token takes 10 and 11 us from start to end within a node (AIConfigurator tables, DeepEP
// 0.5.12, H100), which is two kernels with nothing to move.
constexpr double kPublishedPairs = 128 * 8, kPublishedFp8 = 7168 + 4 * 56,
                 kPublishedBf16 = 2 * 7168;
constexpr PairModel::Kernels kDispatchKernels{10, kPublishedPairs* kPublishedFp8 / (60 - 10)};
constexpr PairModel::Kernels kCombineKernels{11, kPublishedPairs* kPublishedBf16 / (40 + 10 - 11)};

// What the published times leave when start and bytes are told apart (tests/hardware/
// dispatch_published_test.cpp): one token a rank takes 13 and 14 us within a node, 8 tokens 24 to
// 43 us over 2 and 8 nodes (AIConfigurator tables, DeepEP 0.5.6 and 0.5.12, H100); 128 tokens over
// 8 to 256 GPUs are in DeepEP's README of 2025-03 (H800). Every message has 16 bytes of its own.
PairModel deepep_low_latency_model(const DispatchSetup& setup) {
  const std::vector<int> node = group_nodes(setup);
  const bool between = *std::ranges::max_element(node) > 0;
  PairModel model;
  model.header_bytes = 16;
  model.dispatch_start_us = model.combine_start_us = between ? 26 : 14;
  model.dispatch = model.combine = {.inside = 0.73, .between = 0.9};
  model.spread = 0.06;
  model.dispatch_kernels = kDispatchKernels;
  model.combine_kernels = kCombineKernels;
  model.dispatch_curve = measured(setup, true);
  model.combine_curve = measured(setup, false);
  return model;
}

std::unique_ptr<DispatchBackend> make_low_latency_stand_in(const DispatchSetup& setup) {
  PairModel model = deepep_low_latency_model(setup);
  model.stands_in = true;
  return make_pair_dispatch(setup, std::move(model));
}

}  // namespace moesim
