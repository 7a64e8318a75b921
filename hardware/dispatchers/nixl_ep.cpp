#include <utility>

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
      PairModel model = deepep_low_latency_model(setup);
      model.stands_in = true;
      return make_pair_dispatch(setup, std::move(model));
    }};

}  // namespace

}  // namespace moesim
