#include "hardware/overlap.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moesim {

namespace {

Seconds kernels(const HalfBatch& half) {
  return 2.0 * (half.dispatch_kernels + half.combine_kernels);
}
Seconds dispatch_under_way(const HalfBatch& half) {
  return half.dispatch - half.dispatch_kernels;
}
Seconds combine_under_way(const HalfBatch& half) {
  return half.combine - half.combine_kernels;
}

}  // namespace

Seconds two_batch_layer(const HalfBatch& half) {
  const Seconds dispatch = dispatch_under_way(half), combine = combine_under_way(half);
  return std::max(half.attention, dispatch) + std::max(half.experts, dispatch) +
         std::max(half.shared + half.experts, combine) +
         std::max(half.shared + half.attention, combine) + kernels(half);
}

Seconds two_batch_prompt_layer(const HalfBatch& half) {
  const Seconds dispatch = dispatch_under_way(half), combine = combine_under_way(half);
  const Seconds beside = half.shared + half.attention;
  return std::max(beside, dispatch) + std::max(half.experts, dispatch) +
         std::max(half.experts, combine) + std::max(beside, combine) + kernels(half);
}

Seconds two_batch_decode_layer(const HalfBatch& half) {
  const Seconds rest = half.attention - half.prepare;
  return 2.0 * (std::max(half.shared + half.prepare, dispatch_under_way(half)) +
                std::max(rest, combine_under_way(half)) + half.experts) +
         kernels(half);
}

Seconds two_batch_serial(const HalfBatch& half) {
  return 2.0 * (half.attention + half.experts + half.shared + half.dispatch + half.combine);
}

double slowdown_on_fewer_sms(int sms, int taken) {
  MOESIM_CHECK(taken >= 0 && taken < sms, "some SMs are left to compute on");
  return static_cast<double>(sms) / (sms - taken);
}

}  // namespace moesim
