#include "hardware/tuned_experts.h"

#include <algorithm>

namespace moesim {

namespace {

constexpr TunedExperts kVllmA100[] = {{8, 1792}, {8, 2048}, {8, 3584},
                                      {8, 4096}, {8, 7168}, {128, 192}};
constexpr TunedExperts kVllmH100[] = {{8, 1792},  {8, 2048},  {8, 3584},  {8, 4096},
                                      {8, 7168},  {16, 1024}, {16, 2048}, {16, 4096},
                                      {128, 192}, {128, 352}, {128, 384}, {128, 768}};
constexpr TunedExperts kVllmH200[] = {{8, 1792},  {8, 2048},  {8, 3584},  {8, 4096},  {8, 7168},
                                      {8, 14336}, {16, 1024}, {128, 192}, {128, 256}, {128, 352},
                                      {128, 384}, {128, 768}, {128, 1024}};
constexpr TunedExperts kSglangA100[] = {{8, 1792}, {8, 2048}, {8, 3584}, {8, 4096}, {8, 7168}};
constexpr TunedExperts kSglangH100[] = {{8, 1792},  {8, 2048},  {8, 3584},  {8, 4096},  {8, 7168},
                                        {16, 1024}, {16, 2048}, {128, 192}, {128, 352}, {128, 384},
                                        {128, 512}, {128, 704}, {128, 768}, {512, 128}};
constexpr TunedExperts kSglangH200[] = {{8, 1792},  {8, 2048},  {8, 3584},  {8, 4096},  {8, 7168},
                                        {8, 14336}, {16, 1024}, {128, 192}, {128, 384}, {128, 704},
                                        {128, 768}, {512, 128}, {512, 256}};

}  // namespace

std::span<const TunedExperts> tuned_experts(std::string_view framework, std::string_view system) {
  using Layers = std::span<const TunedExperts>;
  const bool vllm = framework == "vllm";
  if (!vllm && framework != "sglang") return {};
  if (system == "a100_sxm") return vllm ? Layers(kVllmA100) : Layers(kSglangA100);
  if (system == "h100_sxm") return vllm ? Layers(kVllmH100) : Layers(kSglangH100);
  if (system == "h200_sxm") return vllm ? Layers(kVllmH200) : Layers(kSglangH200);
  return {};
}

double is_tuned(std::span<const TunedExperts> layers, double experts, double inter) {
  return std::ranges::any_of(layers, [&](const TunedExperts& layer) {
    return layer.experts == experts && layer.inter == inter;
  });
}

}  // namespace moesim
