#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_pairs.h"

namespace moesim {

namespace {

// NIXL's expert-parallel kernels (ai-dynamo/nixl, examples/device/ep) are DeepEP's low-latency ones
// over NIXL's transfers. Nothing is published that could be fitted, so DeepEP's model and curves
// stand in: a donor.
const RegisterDispatch kStandIn{"nixl_ep", "NIXL expert parallelism: taken for deepep_low_latency",
                                make_low_latency_stand_in};

}  // namespace

}  // namespace moesim
