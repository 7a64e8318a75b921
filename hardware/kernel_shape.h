#pragma once

namespace moesim {

/// Sizes of one kernel call on one rank, in plain numbers. A form (hardware/forms.h) reads the
/// fields it names; the rest stay 0. One struct for all operators, so that a sample, a fitted curve
/// and a simulated step speak of the same thing.
struct KernelShape {
  // GEMM: [m, k] x [k, n]
  double m = 0, n = 0, k = 0;
  double weight_bytes = 0;  ///< bytes per weight element, scales included (2, 1, 0.5625, ...)
  double input_bytes = 2;   ///< bytes per activation element the kernel multiplies
  /// Quantising the activations before a GEMM: fixed time of that kernel; 0 where it is fused into
  /// the kernel before, negative where it is as measured (dynamic, by kernels of its own).
  double quantise_us = -1;

  // Routed experts of one layer on this rank
  double tokens = 0;   ///< tokens the layer sees (of all ranks that share it)
  double pairs = 0;    ///< token-expert pairs on this rank
  double active = 0;   ///< local experts with at least one token
  double experts = 0;  ///< local experts
  double total_experts = 0;
  double topk = 0;
  double hidden = 0;
  double inter = 0;     ///< expert intermediate size of this rank
  double matrices = 3;  ///< 3 gated, 2 not
  double above_64 = 0;  ///< pairs beyond the 64th of every local expert, summed
  double above_256 = 0;
  double tuned = 0;  ///< 1: tiles tuned for this layer (hardware/tuned_experts.h)

  // Attention. Sums over the batch; hardware/attention.h has the terms of one sequence.
  double batch = 0;      ///< sequences
  double queries = 0;    ///< query tokens of the whole batch
  double kv_tokens = 0;  ///< context tokens read, summed over sequences (window applied)
  double pairs_qk = 0;   ///< (query, visible key) pairs, summed over sequences
  double longest = 0;    ///< context of the longest sequence (window applied)
  double heads = 0, kv_heads = 0, head_dim = 0;
  double window = 0;    ///< 0: full attention
  double kv_bytes = 2;  ///< bytes per cached element
  // Sequences of one query that share the kernel with prompt chunks; the fields above are then of
  // the chunks only, except `longest`, which is of both.
  double decodes = 0;
  double decode_tokens = 0;   ///< context tokens of those, summed (window applied)
  double decode_longest = 0;  ///< context of the longest of those; 0: not known, all alike

  // Memory-bound kernels and messages
  double bytes = 0;  ///< moved, or the size of the message (nccl-tests' convention)
  double rows = 0;
  double nic_bytes = 0;  ///< those that leave the node (DeepEP)
  double gpus = 0;       ///< ranks of the group
  double nodes = 1;
  double sms = 0;  ///< SMs given to communication
};

/// What a device can do at most, for the number format of the kernel. SI units.
struct DeviceCeilings {
  double memory_bandwidth = 0;  ///< bytes/s, datasheet
  double peak = 0;              ///< FLOP/s, dense, of the format the kernel multiplies in
  double sms = 0;
  double l2_bytes = 0;
  bool cold = false;          ///< nothing a call reads is in L2 before it (a real step; not a
                              ///< benchmark that repeats a call)
  double link_bandwidth = 0;  ///< bytes/s per GPU, one direction, inside a node
  double nic_bandwidth = 0;   ///< bytes/s per GPU, one direction, between nodes
};

}  // namespace moesim
