#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_pairs.h"

namespace moesim {

namespace {

//  a donor.
const RegisterDispatch kStandIn{
    "nixl_ep",
    "NIXL expert parallelism: taken for deepep_low_latency:NIXL's expert-parallel kernels "
    "(ai-dynamo/nixl, examples/device/ep) are DeepEP's low-latency ones\n// over NIXL's transfers. "
    "Nothing is published that could be fitted, so DeepEP's model and curves\n// stand in",
    [](const DispatchSetup& setup) {
      return make_pair_dispatch(setup, deepep_low_latency_model(setup));
    }};

}  // namespace

}  // namespace moesim
