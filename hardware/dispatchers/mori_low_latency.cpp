#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_pairs.h"

namespace moesim {

namespace {

// MORI's low-latency kernels (ROCm/mori) move what DeepEP's do, on AMD GPUs. Nothing is published
// that could be fitted, so DeepEP's model and curves stand in: a donor.
const RegisterDispatch kStandIn{"mori_low_latency",
                                "MORI low latency: taken for deepep_low_latency",
                                make_low_latency_stand_in};

}  // namespace

}  // namespace moesim
