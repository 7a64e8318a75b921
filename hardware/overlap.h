#pragma once

#include "sim/base/units.h"

namespace moesim {

/// What communication of an MoE layer costs beside the computation it runs under
/// (serving-semantics 5). Pure arithmetic; every time is of one layer.

/// The parts of a layer for one half of a batch. Give the time of half the tokens, not half the
/// time: a half reads the expert weights as a whole batch does. `experts` and the others run on the
/// SMs that communication leaves.
struct HalfBatch {
  Seconds attention;  ///< with the gate
  Seconds experts;    ///< routed
  Seconds shared;     ///< shared experts
  Seconds dispatch, combine;
};

/// Two halves in turn on one compute and one communication stream (vLLM's dual-batch overlap,
/// SGLang's two-batch overlap): in each of four slots one half computes while the other
/// communicates.
///
///   max(a, D) + max(m, D) + max(s + m, C) + max(s + a, C)        serving-semantics 5.1
///
/// The last slot's attention is the next layer's, so a stack of layers pays exactly this per layer;
/// at least 2 (a + m + s).
[[nodiscard]] Seconds two_batch_layer(const HalfBatch& half);
/// The same layer for two halves one after the other: what overlap saves is the difference.
[[nodiscard]] Seconds two_batch_serial(const HalfBatch& half);

/// A message that is sent, left to the network and received later (DeepEP low latency with receive
/// hook): what of it shows when `other` runs in between (5.3).
///
///   max(0, network - other) + send + receive
struct HookedMessage {
  Seconds network;        ///< until the last byte is there
  Seconds send, receive;  ///< kernels at both ends, which occupy the GPU
};
[[nodiscard]] Seconds exposed(const HookedMessage& message, Seconds other);

/// How much longer computation takes on the SMs that communication leaves: 132 and 20 give 132/112.
/// For work that is spread over all SMs; memory-bound kernels lose less. Precondition: 0 <= taken <
/// sms.
[[nodiscard]] double slowdown_on_fewer_sms(int sms, int taken);

}  // namespace moesim
