#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_pairs.h"

namespace moesim {

namespace {

// A message per (token, expert), also for two experts on one rank: NVLink inside a node, RDMA from
// GPU to GPU between nodes (serving-semantics 3.4 (d); deepseek-ai/DeepEP). fp8 dispatch, bfloat16
// combine as measured; other payloads by their bytes. With the receive hook no SM is held while
// messages fly.
const RegisterDispatch kLowLatency{
    "deepep_low_latency", "DeepEP low latency: a message per (token, expert)",
    [](const DispatchSetup& setup) {
      return make_pair_dispatch(setup, deepep_low_latency_model(setup));
    }};

}  // namespace

}  // namespace moesim
