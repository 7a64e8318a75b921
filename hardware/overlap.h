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
  /// The part of `attention` before keys are attended to: projections of queries, keys and values.
  Seconds prepare{};
  /// The parts of `dispatch` and `combine` in which kernels hold the GPU
  /// (DispatchBackend::kernels).
  Seconds dispatch_kernels{}, combine_kernels{};
};

/// Two halves in turn on one compute and one communication stream (vLLM's dual-batch overlap): in
/// each of four slots one half computes while the other's message is on its way. With D and C what
/// is left of messages without their kernels, d and c,
///
///   max(a, D) + max(m, D) + max(s + m, C) + max(s + a, C) + 2 (d + c)     serving-semantics 5.1
///
/// The last slot's attention is the next layer's, so a stack of layers pays exactly this per layer;
/// at least 2 (a + m + s + d + c).
[[nodiscard]] Seconds two_batch_layer(const HalfBatch& half);

/// SGLang's two-batch overlap of prompts (serving-semantics 5.2; batch_overlap/
/// operations_strategy.py, `_compute_moe_deepseek_blog_prefill`). The halves go through three
/// stages in step, attention to the start of the dispatch, experts to the start of the combine, and
/// shared experts to the end, which goes on into the next layer's first:
///
///   max(s + a, D) + max(m, D) + max(m, C) + max(s + a, C) + 2 (d + c)
[[nodiscard]] Seconds two_batch_prompt_layer(const HalfBatch& half);

/// SGLang's two-batch overlap of decodes (`_compute_moe_deepseek_blog_decode`): five stages, the
/// second half two behind the first, all kernels on one stream. A dispatch is under way beside its
/// own shared experts and the other half's `prepare`, p, a combine beside the other half's rest of
/// the attention; nothing is under way beside experts:
///
///   2 (max(s + p, D) + max(a - p, C) + m + d + c)
[[nodiscard]] Seconds two_batch_decode_layer(const HalfBatch& half);

/// The same layer for two halves one after the other: what overlap saves is the difference.
[[nodiscard]] Seconds two_batch_serial(const HalfBatch& half);

/// How much longer computation takes on the SMs that communication leaves: 132 and 20 give 132/112.
/// For work that is spread over all SMs; memory-bound kernels lose less. Precondition: 0 <= taken <
/// sms.
[[nodiscard]] double slowdown_on_fewer_sms(int sms, int taken);

}  // namespace moesim
