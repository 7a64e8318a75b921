#pragma once

#include <cstdint>

#include "models/model.h"

namespace moesim {

/// Where an operator's time goes in the report: `breakdown` terms of glossary 7.
enum class Term : std::uint8_t {
  kAttention,
  kAttentionProj,
  kRouter,
  kDispatch,
  kExpertGemm,
  kSharedExpert,
  kCombine,
  kDenseFfn,
  kAllReduce,
  kPpSendRecv,
  kEmbedding,
  kLmHead,
  kSampling,
  kElementwise,
  kExpertCopy,
  kLaunchOverhead,
  kExposedWait,
  kOverlapped,
};
inline constexpr int kTermCount = 18;
[[nodiscard]] const char* term_name(Term term);

enum class OpKind : std::uint8_t {
  kGemm,              ///< m x k times k x n
  kGroupedGemm,       ///< the routed experts of one layer: both GEMMs and the activation
  kAttentionDecode,   ///< queries of one token each
  kAttentionPrefill,  ///< one chunk of new tokens over its context
  kMlaDecode,         ///< absorbed latent attention
  kMlaPrefill,
  kElementwise,  ///< memory-bound: norms, rotary, permute, quantise, gather
  kSampling,
  kAllReduce,  ///< message over the TP group
  kSendRecv,   ///< activations to the next pipeline stage
};

/// One unit of work of a step on one rank. A model says what work there is; sim/steptime says how
/// long it takes. `flops` counts multiply and add; bytes are on this rank. Shapes are kept for
/// measured profiles.
struct Op {
  OpKind kind = OpKind::kGemm;
  Term term = Term::kElementwise;
  int repeat = 1;  ///< how often it occurs in the step (layers that are alike)
  double flops = 0;
  double weight_bytes = 0;      ///< weights or KV read
  double activation_bytes = 0;  ///< in and out
  double message_bytes = 0;     ///< collectives: payload per rank
  NumberFormat weight_format = NumberFormat::kBf16;
  std::int64_t m = 0, n = 0,
               k = 0;  ///< GEMM shape; attention: m query tokens, n context tokens, k heads
  int sequences = 0;   ///< attention: sequences in the batch
  int kv_heads = 0, head_dim = 0;  ///< attention: on this rank
  int active_experts = 0;          ///< grouped GEMM: experts with at least one token
  std::int64_t padded_rows = 0;    ///< grouped GEMM: rows after padding to the M tile
};

}  // namespace moesim
