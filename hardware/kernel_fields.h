#pragma once

#include <array>

#include "hardware/kernel_shape.h"

namespace moesim {

/// A size of KernelShape by its name, for files.
struct KernelField {
  const char* name;
  double KernelShape::*member;
};

/// All of them, in their order.
inline constexpr std::array kKernelFields{
    KernelField{"m", &KernelShape::m},
    KernelField{"n", &KernelShape::n},
    KernelField{"k", &KernelShape::k},
    KernelField{"weight_bytes", &KernelShape::weight_bytes},
    KernelField{"input_bytes", &KernelShape::input_bytes},
    KernelField{"quantise_us", &KernelShape::quantise_us},
    KernelField{"tokens", &KernelShape::tokens},
    KernelField{"pairs", &KernelShape::pairs},
    KernelField{"active", &KernelShape::active},
    KernelField{"experts", &KernelShape::experts},
    KernelField{"total_experts", &KernelShape::total_experts},
    KernelField{"topk", &KernelShape::topk},
    KernelField{"hidden", &KernelShape::hidden},
    KernelField{"inter", &KernelShape::inter},
    KernelField{"matrices", &KernelShape::matrices},
    KernelField{"above_64", &KernelShape::above_64},
    KernelField{"above_256", &KernelShape::above_256},
    KernelField{"tuned", &KernelShape::tuned},
    KernelField{"batch", &KernelShape::batch},
    KernelField{"queries", &KernelShape::queries},
    KernelField{"kv_tokens", &KernelShape::kv_tokens},
    KernelField{"pairs_qk", &KernelShape::pairs_qk},
    KernelField{"longest", &KernelShape::longest},
    KernelField{"heads", &KernelShape::heads},
    KernelField{"kv_heads", &KernelShape::kv_heads},
    KernelField{"head_dim", &KernelShape::head_dim},
    KernelField{"window", &KernelShape::window},
    KernelField{"kv_bytes", &KernelShape::kv_bytes},
    KernelField{"decodes", &KernelShape::decodes},
    KernelField{"decode_tokens", &KernelShape::decode_tokens},
    KernelField{"decode_longest", &KernelShape::decode_longest},
    KernelField{"bytes", &KernelShape::bytes},
    KernelField{"rows", &KernelShape::rows},
    KernelField{"nic_bytes", &KernelShape::nic_bytes},
    KernelField{"gpus", &KernelShape::gpus},
    KernelField{"nodes", &KernelShape::nodes},
    KernelField{"sms", &KernelShape::sms},
};
static_assert(sizeof(KernelShape) == kKernelFields.size() * sizeof(double),
              "a field of KernelShape has no name");

}  // namespace moesim
