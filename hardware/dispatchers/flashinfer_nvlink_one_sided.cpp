#include <cmath>

#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_pairs.h"

namespace moesim {

namespace {

// TensorRT-LLM's NVLink all-to-all in which senders write into receivers' memory, in FlashInfer
// too: a token once per rank. Fitted to 250 times of 2 to 64 GB200 of a rack, NVFP4 dispatch and
// bfloat16 combine (AIConfigurator tables, TensorRT-LLM 1.3; one shape, 7168 channels, 8 of 256
// experts): median error 7 and 14 %; combine over two ranks is half as long as told. Between nodes
// without NVLink it does not run; such links are taken as they are.
std::unique_ptr<DispatchBackend> make_one_sided(const DispatchSetup& setup) {
  const double doublings = std::log2(static_cast<double>(setup.gpus.size()));
  PairModel model;
  model.per_expert = false;
  model.copies_to_itself = true;
  model.dispatch_start_us = 11 + 2 * doublings;
  model.combine_start_us = 13 + 3 * doublings;
  model.dispatch = model.combine = {.inside = 0.96, .between = 1};
  model.spread = 0.22;  // root mean square over those times
  return make_pair_dispatch(setup, model);
}

const RegisterDispatch kOneSided{"flashinfer_nvlink_one_sided",
                                 "TensorRT-LLM NVLink all-to-all, written by the sender",
                                 make_one_sided};

}  // namespace

}  // namespace moesim
