#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_relays.h"

namespace moesim {

namespace {

// DeepEP 2 (deepseek-ai/DeepEP README, 2026): one set of kernels that needs 4 to 12 SMs over two
// and four nodes of Hopper; taken with 12. Its traffic is that of the normal kernels, whose model
// and curves stand in: a donor.
constexpr int kSms = 12;

const RegisterDispatch kStandIn{
    "deepep_v2", "DeepEP 2: taken for deepep_high_throughput with 12 SMs",
    [](const DispatchSetup& setup) { return make_relay_dispatch(setup, kSms, true); }};

}  // namespace

}  // namespace moesim
