#include <cmath>

#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_pairs.h"

namespace moesim {

namespace {

// TensorRT-LLM's NVLink all-to-all with receivers that wait for senders, in FlashInfer too: a token
// once per rank, as the times over 2 to 64 ranks show (2.0 to 7.7 copies of 8). A kernel that
// exchanges counts comes first. Fitted to 1386 times of 2 to 64 GB200 of a rack (AIConfigurator
// tables, TensorRT-LLM 1.3; one shape, 7168 channels, 8 of 256 experts): median error 6 to 9 %.
// Between nodes without NVLink it does not run; such links are taken as they are.
std::unique_ptr<DispatchBackend> make_two_sided(const DispatchSetup& setup) {
  const double doublings = std::log2(static_cast<double>(setup.gpus.size()));
  PairModel model;
  model.per_expert = false;
  model.copies_to_itself = true;
  constexpr double kPrepare = 11.5;
  model.dispatch_start_us = kPrepare + 0.5 * doublings + 10.5 + 0.5 * doublings;
  model.us_per_token = 1.0 / 145;
  model.combine_start_us = 10.5 + doublings;
  model.dispatch = {.inside = 0.80, .between = 1};
  model.combine = {.inside = 0.74, .between = 1};
  model.spread = 0.17;  // root mean square over those times
  return make_pair_dispatch(setup, model);
}

const RegisterDispatch kTwoSided{"flashinfer_nvlink_two_sided",
                                 "TensorRT-LLM NVLink all-to-all, counts first", make_two_sided};

}  // namespace

}  // namespace moesim
