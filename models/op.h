#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

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

/// What a memory-bound operator is; measured kernels tell some apart, and composite kernels contain
/// others.
enum class MemoryPart : std::uint8_t {
  kOther,
  kNorm,       ///< of the hidden state, with its residual
  kInnerNorm,  ///< of queries, keys, latents or values
  kRotary,
  kKvWrite,
  kActivation,  ///< gate times up
  kRouting,     ///< router scores and top-k: inside a fused expert kernel
  kAlign,       ///< sort of token-expert pairs: likewise
  kExpertSum,   ///< weighted sum over a token's experts: likewise
  kEmbedding,
  kState,  ///< linear attention: its recurrent state
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
  int window = 0;                  ///< attention: 0 for full
  double pairs = 0;                ///< attention: (query, visible key) pairs
  std::int64_t longest = 0;        ///< attention: keys of the longest sequence, 0 if not known
  int active_experts = 0;          ///< grouped GEMM: experts with at least one token
  std::int64_t padded_rows = 0;    ///< grouped GEMM: rows after padding to the M tile
  std::int64_t above_64 = 0, above_256 = 0;  ///< grouped GEMM: rows beyond the 64th (256th) of
                                             ///< each expert, summed
  int tokens = 0;                            ///< grouped GEMM: tokens the layer sees
  int experts = 0, total_experts = 0, top_k = 0,
      matrices = 3;                      ///< grouped GEMM: local, of the layer
  MemoryPart part = MemoryPart::kOther;  ///< memory-bound operators
  /// Latent attention of prompts: n x k of the product that expands every visible latent into keys
  /// and values, counted in `flops`; 0: attends to latents.
  std::int64_t expand_n = 0, expand_k = 0;
  bool before_attention = false;  ///< of its layer: projections of queries, keys and values
};

/// Marks operators from `first` on as work before their layer's attention.
inline void mark_before_attention(std::vector<Op>& ops, std::size_t first) {
  for (std::size_t i = first; i < ops.size(); ++i) ops[i].before_attention = true;
}

/// Adds the sequences of `more` to an attention operator of the same layers: engines attend all
/// prompt chunks of a step in one call.
inline void add_sequences(Op& batch, const Op& more) {
  batch.flops += more.flops;
  batch.weight_bytes += more.weight_bytes;
  batch.activation_bytes += more.activation_bytes;
  batch.m += more.m;
  batch.n += more.n;
  batch.pairs += more.pairs;
  batch.sequences += more.sequences;
  batch.longest = batch.longest > more.longest ? batch.longest : more.longest;
}

}  // namespace moesim
