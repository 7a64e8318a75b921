#include "hardware/overlap.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moesim {

Seconds two_batch_layer(const HalfBatch& half) {
  return std::max(half.attention, half.dispatch) + std::max(half.experts, half.dispatch) +
         std::max(half.shared + half.experts, half.combine) +
         std::max(half.shared + half.attention, half.combine);
}

Seconds two_batch_serial(const HalfBatch& half) {
  return 2.0 * (half.attention + half.experts + half.shared + half.dispatch + half.combine);
}

Seconds exposed(const HookedMessage& message, Seconds other) {
  return std::max(Seconds(0), message.network - other) + message.send + message.receive;
}

double slowdown_on_fewer_sms(int sms, int taken) {
  MOESIM_CHECK(taken >= 0 && taken < sms, "some SMs are left to compute on");
  return static_cast<double>(sms) / (sms - taken);
}

}  // namespace moesim
