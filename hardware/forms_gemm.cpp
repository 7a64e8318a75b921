#include <algorithm>
#include <cmath>

#include "hardware/forms_list.h"

namespace moesim {

namespace {

double ceil_div(double a, double b) {
  return std::ceil(a / b);
}

// Tile and wave quantisation: the output is cut into tiles, tiles go over the SMs in waves, and the
// last wave costs as much as a full one. Split-K and smaller tiles soften that, so the work is
// raised to a fitted power between even spreading (0) and full waves (1).
double gemm_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double launch = c[0], bandwidth = c[1], efficiency = c[2], power = c[3], quantised = c[4],
               chain = c[5], quantise = c[6], quantise_chain = c[7];
  const double tile_m = s.m <= 64 ? 64 : 128;
  const double tiles = ceil_div(s.m, tile_m) * ceil_div(s.n, 128);
  const double waves = std::ceil(tiles / d.sms) * d.sms / tiles;
  const double rows = ceil_div(s.m, tile_m) * tile_m;
  const double flops = 2 * rows * s.n * s.k * std::pow(waves, quantised);
  const double bytes = s.n * s.k * s.weight_bytes + s.m * s.k * s.input_bytes + 2 * s.m * s.n;
  const double memory = bytes / (bandwidth * d.memory_bandwidth);
  const double compute = flops / (efficiency * d.peak);
  // A CTA walks k in order: a floor that no parallelism removes.
  const double serial = chain * 1e-9 * s.k;
  // 16-bit activations are quantised first for kernels that multiply narrower ones: read 2 bytes,
  // write 1, and the search for the scale walks a row. Engines that fuse it into the kernel before
  // say so.
  const double measured = quantise * 1e-6 + quantise_chain * 1e-9 * s.k;
  const double fixed = s.quantise_us < 0 ? measured : s.quantise_us * 1e-6;
  const double moved = s.quantise_us == 0 ? 0 : 3 * s.m * s.k / d.memory_bandwidth;
  const double convert = s.input_bytes < 2 ? fixed + moved : 0;
  return launch * 1e-6 + soft_max(memory, compute, serial, power) + convert;
}

Coordinates gemm_coordinates(const KernelShape& s) {
  return {std::log2(s.m), std::log2(s.n), std::log2(s.k)};
}

}  // namespace

const Form& gemm_form() {
  static const Form form{"gemm",
                         {{"launch_us", 2, 0.5, 20},
                          {"bandwidth", 0.85, 0.3, 1.05},
                          {"efficiency", 0.75, 0.1, 1.05},
                          {"power", 3, 1.1, 12},
                          {"wave_quantisation", 0.5, 0.01, 1},
                          {"chain_ns_per_k", 0.25, 0.01, 0.4},
                          {"quantise_us", 4, 0.1, 30},
                          {"quantise_ns_per_k", 0.3, 0.001, 5}},
                         gemm_seconds,
                         {"log2 m", "log2 n", "log2 k"},
                         gemm_coordinates};
  return form;
}

}  // namespace moesim
