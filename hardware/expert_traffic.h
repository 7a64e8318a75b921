#pragma once

namespace moesim {

/// Who an all-to-all of expert parallelism joins, for tokens whose experts are drawn uniformly.
struct ExpertGroup {
  double ranks = 1;
  double nodes = 1;
  double experts = 1;  ///< of the layer; spread evenly over the ranks
  double topk = 1;
  double node_limit = 0;  ///< a token's experts lie on at most so many nodes (0: no such rule)
};

/// Expected copies of one token that leave its rank.
struct ExpertTraffic {
  double to_ranks = 0;            ///< distinct other ranks it must reach, any node
  double to_nodes = 0;            ///< distinct other nodes it must reach
  double to_experts = 0;          ///< (token, expert) pairs on other ranks
  double to_experts_outside = 0;  ///< those of them on other nodes
};

/// Expectation under uniform choice of topk distinct experts. A set of `s` of `n` experts is missed
/// with probability C(n - s, k) / C(n, k) (hypergeometric). Preconditions: all positive, nodes
/// divide ranks.
[[nodiscard]] ExpertTraffic expected_traffic(const ExpertGroup& group);

/// Bytes of one token on the wire of DeepEP (deepseek-ai/DeepEP README, 2025-03): dispatch in fp8
/// with a 32-bit scale per 128 channels, combine in bfloat16.
[[nodiscard]] double fp8_token_bytes(double hidden);
[[nodiscard]] double bf16_token_bytes(double hidden);

}  // namespace moesim
