#pragma once

namespace moesim {

/// Bytes that one row (token) of an element-wise kernel moves: every tensor read or written counts
/// once at 2 bytes an element, whether or not it hits the L2; weights, scales and indices do not
/// count. Samples and simulated steps count alike, so `KernelShape::bytes` is rows times these.
/// Widths are elements per row on this rank.

constexpr double norm_bytes(double width) {
  return 2 * 2 * width;  ///< reads x, writes y
}
constexpr double add_norm_bytes(double width) {
  return 4 * 2 * width;  ///< reads x and the residual, writes the sum and its norm
}
constexpr double add_bytes(double width) {
  return 3 * 2 * width;  ///< reads two, writes their sum
}
constexpr double copy_bytes(double width) {
  return 2 * 2 * width;  ///< embedding; rotary over the heads of Q and K, in place
}
constexpr double gated_bytes(double inter) {
  return 3 * 2 * inter;  ///< reads gate and up, writes the product
}
constexpr double quantize_bytes(double width) {
  return 3 * width;  ///< reads 16 bits, writes 8; finding the scale first reads from L2
}
constexpr double sampler_bytes(double vocab) {
  return 4 * vocab;  ///< logits in float32, once, however often they are read
}

}  // namespace moesim
