#include <algorithm>

#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_pairs.h"

namespace moesim {

namespace {

// Perplexity's NVSHMEM kernels: a message per (token, expert), NVLink inside a node, IBGDA between
// nodes (serving-semantics 3.4 (e)). Fitted to ppl-ai/pplx-kernels' README (2025-04, H100): 1 and
// 128 tokens a rank over 8 GPUs (42 and 42, 84 and 102 us) and 16 to 128 (1 token 103 to 126 and 55
// to 63 us; 128 tokens 308 to 622 and 481 to 668 us). Between nodes dispatch is told to within a
// third only, and 2 nodes are slower than 4, 8 or 16 for no reason the bytes give.
std::unique_ptr<DispatchBackend> make_pplx(const DispatchSetup& setup) {
  const std::vector<int> node = group_nodes(setup);
  const bool between = *std::ranges::max_element(node) > 0;
  PairModel model;
  model.header_bytes = 16;
  model.dispatch_start_us = between ? 116 : 42;
  model.combine_start_us = between ? 60 : 42;
  model.dispatch = {.inside = 0.48, .between = 0.6};
  model.combine = {.inside = 0.65, .between = 0.55};
  model.spread = 0.3;
  return make_pair_dispatch(setup, model);
}

const RegisterDispatch kPplx{"pplx", "pplx-kernels: a message per (token, expert) over NVSHMEM",
                             make_pplx};

}  // namespace

}  // namespace moesim
