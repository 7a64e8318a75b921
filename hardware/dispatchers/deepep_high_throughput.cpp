#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_relays.h"

namespace moesim {

namespace {

// A token once per rank, over the network once per node (serving-semantics 3.4 (c);
// deepseek-ai/DeepEP, normal kernels). The wait of the CPU for the sizes is not in it.
const RegisterDispatch kHighThroughput{
    "deepep_high_throughput", "DeepEP normal kernels: a token once per rank, once per node",
    [](const DispatchSetup& setup) { return make_relay_dispatch(setup, kHighThroughputSms); }};

}  // namespace

}  // namespace moesim
