#include <algorithm>
#include <cmath>

#include "hardware/forms_list.h"

namespace moesim {

namespace {

// alpha + beta x + gamma sqrt(x): the square root is the change of protocol between small and large
// messages (steptime.md 2). One curve per operation and group size; `bytes` as nccl-tests counts.
double message_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double megabytes = s.bytes * 1e-6;
  const double per_byte = c[1] / d.link_bandwidth;
  return c[0] * 1e-6 + per_byte * s.bytes + c[2] * 1e-6 * std::sqrt(megabytes);
}

Coordinates message_coordinates(const KernelShape& s) {
  return {std::log2(std::max(1.0, s.bytes))};
}

// A kernel bound by memory: launch plus bytes over bandwidth; a row costs a little by itself.
double stream_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  return soft_max(c[0] * 1e-6, s.bytes / (c[1] * d.memory_bandwidth), c[2]);
}

Coordinates stream_coordinates(const KernelShape& s) {
  return {std::log2(std::max(1.0, s.bytes)), std::log2(std::max(1.0, s.rows))};
}

// Dispatch or combine of one layer: bytes that leave the GPU over NVLink, and over the NIC when
// there are several nodes; the SMs given to communication bound small-SM settings.
double deepep_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double x = s.bytes;
  const double link = s.nodes > 1 ? d.nic_bandwidth : d.link_bandwidth;
  const double wire = x / (c[1] * link);
  const double engine = s.sms > 0 ? x / (c[3] * 1e9 * s.sms) : 0;
  return c[0] * 1e-6 * (1 + c[4] * std::log2(s.nodes)) + soft_max(wire, engine, 3) +
         c[2] * 1e-6 * std::sqrt(x * 1e-6);
}

Coordinates deepep_coordinates(const KernelShape& s) {
  return {std::log2(std::max(1.0, s.bytes)), std::log2(s.nodes), s.sms,
          std::log2(std::max(1.0, s.tokens))};
}

}  // namespace

const Form& message_form() {
  static const Form form{
      "message",
      {{"alpha_us", 10, 0.5, 500}, {"beta", 2, 0.05, 50}, {"gamma_us_per_sqrt_mb", 5, 0.001, 500}},
      message_seconds,
      {"log2 bytes"},
      message_coordinates};
  return form;
}

const Form& stream_form() {
  static const Form form{
      "stream",
      {{"launch_us", 2, 0.3, 50}, {"bandwidth", 0.7, 0.02, 4}, {"power", 2, 1.05, 12}},
      stream_seconds,
      {"log2 bytes", "log2 rows"},
      stream_coordinates};
  return form;
}

const Form& deepep_form() {
  static const Form form{"deepep",
                         {{"alpha_us", 15, 1, 300},
                          {"wire", 0.6, 0.01, 2},
                          {"gamma_us_per_sqrt_mb", 2, 0.001, 300},
                          {"gb_per_s_per_sm", 15, 0.5, 200},
                          {"per_doubling", 0.5, 0.001, 5}},
                         deepep_seconds,
                         {"log2 bytes", "log2 nodes", "SMs", "log2 tokens"},
                         deepep_coordinates};
  return form;
}

}  // namespace moesim
