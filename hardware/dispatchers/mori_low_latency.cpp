#include <utility>

#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_pairs.h"

namespace moesim {

namespace {

//  a donor.
const RegisterDispatch kStandIn{
    "mori_low_latency",
    "MORI low latency: taken for deepep_low_latency:MORI's low-latency kernels (ROCm/mori) move "
    "what DeepEP's do, on AMD GPUs. Nothing is published\n// that could be fitted, so DeepEP's "
    "model and curves stand in",
    [](const DispatchSetup& setup) {
      PairModel model = deepep_low_latency_model(setup);
      model.stands_in = true;
      return make_pair_dispatch(setup, std::move(model));
    }};

}  // namespace

}  // namespace moesim
