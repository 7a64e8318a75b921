#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_relays.h"

namespace moesim {

namespace {

// MORI's high-throughput kernels (ROCm/mori) follow DeepEP's normal ones, on AMD GPUs. Nothing is
// published that could be fitted, so DeepEP's model and curves stand in: a donor.
const RegisterDispatch kStandIn{"mori_high_throughput",
                                "MORI high throughput: taken for deepep_high_throughput",
                                [](const DispatchSetup& setup) {
                                  return make_relay_dispatch(setup, kHighThroughputSms, true);
                                }};

}  // namespace

}  // namespace moesim
