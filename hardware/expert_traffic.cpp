#include "hardware/expert_traffic.h"

#include <algorithm>

namespace moesim {

namespace {

/// Probability that none of `k` distinct draws out of `n` falls into a set of `s`.
double missed(double n, double s, double k) {
  double p = 1;
  for (double i = 0; i < k; ++i) p *= std::max(0.0, n - s - i) / std::max(1.0, n - i);
  return p;
}

}  // namespace

ExpertTraffic expected_traffic(const ExpertGroup& g) {
  const double limit = g.node_limit > 0 ? std::min(g.node_limit, g.nodes) : g.nodes;
  const double share = limit / g.nodes;  // of nodes, hence of ranks and experts, in the draw
  const double pool = g.experts * share;
  const double ranks = g.ranks * share * (1 - missed(pool, g.experts / g.ranks, g.topk));
  const double nodes = limit * (1 - missed(pool, g.experts / g.nodes, g.topk));
  // By symmetry the token's own rank and node are as likely as any other.
  ExpertTraffic t;
  t.to_ranks = ranks * (1 - 1 / g.ranks);
  t.to_nodes = nodes * (1 - 1 / g.nodes);
  t.to_experts = g.topk * (1 - 1 / g.ranks);
  t.to_experts_outside = g.topk * (1 - 1 / g.nodes);
  return t;
}

double fp8_token_bytes(double hidden) {
  return hidden * (1 + 4.0 / 128);
}

double bf16_token_bytes(double hidden) {
  return 2 * hidden;
}

}  // namespace moesim
