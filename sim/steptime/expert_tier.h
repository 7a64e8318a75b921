#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/expert_offload.h"
#include "models/placement.h"
#include "scenarios/routing_table.h"

namespace moesim {

/// What the experts of one layer on one rank had to be fetched in one step.
struct TierUse {
  double looked = 0;                   ///< experts with tokens
  double hits = 0;                     ///< of them on the GPU before any copy
  double ahead = 0;                    ///< of the others, copied while the layer before ran
  double bytes = 0;                    ///< copied, wrong guesses included
  double demand_ns = 0, ahead_ns = 0;  ///< link time after the router, and beside the layer before
  double computed = 0;                 ///< of the others, computed by the CPU
  double cpu_ns = 0;  ///< from the hidden states' leaving the GPU to their being back
};

/// Experts that a pipeline stage's GPUs do not all hold: who is resident, what a step must copy,
/// and how long the link takes for it.
///
/// Copies after the router precede the grouped GEMM, which needs all of its experts. n copies of a
/// layer are issued together: latency + n * bytes / bandwidth. Nothing is written back, since
/// weights do not change.
///
/// With compute cpu, experts that are not there take
///   2 (latency + n h / link) + max(bytes / host memory, FLOPs / CPU peak)
/// for n tokens of h bytes: hidden states go to the host and back once a layer, and every expert is
/// read once. Resident ones run on the GPU meanwhile (as ktransformers does; SOSP 2025). Steps of
/// kCopiedFrom tokens or more copy instead, as llama.cpp does (GGML's op offload).
///
/// Resident are the experts of highest rank by the policy: last step of use (then tokens in it),
/// tokens so far, or tokens in the routing table; or all of a layer or none. An order that does not
/// depend on how many fit makes smaller caches part of larger ones, so more room never means more
/// misses (Mattson et al., IBM Systems Journal 9(2), 1970: stack algorithms).
///
/// Prefetch guesses the next layer's experts from this layer's: with P(f|e) the share of tokens at
/// e that choose f at the next layer, counted in the routing table, the expected tokens of f are
/// sum over e of tokens(e) * P(f|e); as many experts are guessed as this layer has with tokens.
/// Engines that apply the next router to this layer's hidden state guess better; this is what the
/// choices alone tell. The first layer of a stage has no guess.
class ExpertTier {
 public:
  struct Config {
    ExpertOffload spec;
    int first_layer = 0;               ///< of the stage, counted over the model's MoE layers
    std::vector<double> expert_bytes;  ///< [MoE layer of the stage] of one expert on a rank
    double bytes_per_ns = 1;           ///< of one GPU's link
    double latency_ns = 0;
    struct Cpu {
      double bytes_per_ns = 1, flops_per_ns = 1;  ///< what one GPU's experts get of the node's
      double hidden_bytes = 0;                    ///< of one token, one way
      std::vector<double> expert_flops;  ///< [MoE layer of the stage] of one token at one expert
    };
    Cpu cpu;  ///< looked at with compute cpu
  };
  /// Tokens of a step (of all ranks, padding included) from which on absent experts are copied
  /// whatever `compute` says. llama.cpp, ggml-cuda.cu: an operation whose weights lie on the host
  /// is taken to the GPU if its batch (of MUL_MAT_ID: the tokens) has at least 32
  /// (GGML_OP_OFFLOAD_MIN_BATCH); only experts with tokens are copied (PR 15346, 2025-08).
  /// ik_llama.cpp asks for 32 tokens an expert on average (PR 520): not modelled.
  static constexpr int kCopiedFrom = 32;
  /// `placement` covers the MoE layers of the whole model and says which slots a rank has.
  ExpertTier(Config config, const ExpertPlacement& placement);

  /// Takes hot experts and what follows what from a table. Throws InputError if rows of a mapped
  /// file are damaged.
  void learn(const RoutingTable& table);
  /// Back to the state after `learn`: the first slots of a rank are resident.
  void reset();

  /// Announces the layers of a step of `tokens` in order; `counts` are tokens by logical expert.
  void begin_layer(int moe_layer, std::span<const std::uint32_t> counts, int tokens);
  /// Uses the experts of `rank` in the layer begun last, whose slots have `counts` tokens, and
  /// makes resident what the policy prefers.
  TierUse visit(int rank, std::span<const std::uint32_t> counts);
  /// What is left of the `counts` last visited for the GPU, where the CPU computed some.
  [[nodiscard]] std::span<const std::uint32_t> on_gpu() const { return on_gpu_; }

  [[nodiscard]] bool learns() const { return config_.spec.learns(); }

 private:
  [[nodiscard]] std::size_t at(int layer, int slot) const {
    return static_cast<std::size_t>(layer) * static_cast<std::size_t>(slots_) +
           static_cast<std::size_t>(slot);
  }
  [[nodiscard]] double link_ns(double experts) const;
  [[nodiscard]] double cpu_ns(double experts, double pairs) const;
  void choose_resident(int layer, int rank);
  void note_use(std::size_t slot, std::uint32_t tokens);
  void guess(std::span<const std::uint32_t> before);
  void count_followers(const RoutingTable& table, std::uint64_t row);
  void finish_followers(const RoutingTable& table);

  Config config_;
  int layers_, experts_, slots_, ranks_;
  int model_layers_;  ///< MoE layers of the whole model
  int layer_ = -1;    ///< of the stage, begun last
  int tokens_ = 0;    ///< of its step
  std::uint64_t clock_ = 0;
  std::vector<int> first_slot_;
  std::vector<std::uint16_t> logical_;        ///< [layer][slot]
  std::vector<std::uint64_t> rank_, pinned_;  ///< [layer][slot] larger stays
  std::vector<std::uint8_t> resident_;        ///< [layer][slot]
  std::vector<float> follow_;                 ///< [layer][e][f] P(f at layer + 1 | e at layer)
  std::vector<double> expected_;              ///< [expert] of the layer begun
  std::vector<std::uint8_t> guessed_;         ///< [expert]
  std::vector<std::uint32_t> before_;         ///< [expert] tokens at the layer before
  std::vector<int> order_;
  std::vector<std::uint32_t> on_gpu_;  ///< [slot of the rank visited last]
};

}  // namespace moesim
