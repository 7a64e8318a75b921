#include <algorithm>
#include <cmath>

#include "hardware/forms_list.h"

namespace moesim {

namespace {

double log2_of(double x) {
  return std::log2(std::max(1.0, x));
}

// alpha + beta x + gamma sqrt(x): the square root is the change of protocol between small and large
// messages (steptime.md 2). A rank sends (n - 1) / n of a message of n parts; every further rank
// costs a fraction of a hop. Between nodes the NICs of a node share its part.
double message_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double per_node = s.gpus / s.nodes;
  const double alpha = c[0] + c[1] * std::pow(std::max(0.0, s.gpus - 2), c[2]);
  const double wire = s.nodes > 1 ? s.bytes * (1 - 1 / s.nodes) / (per_node * d.nic_bandwidth)
                                  : s.bytes * (1 - 1 / s.gpus) / d.link_bandwidth;
  return (alpha + c[4] * std::sqrt(s.bytes * 1e-6)) * 1e-6 + wire / c[3];
}

// Below 512 bytes a message is all latency, above 256 MiB all bandwidth: what is known there holds
// beyond.
Coordinates message_coordinates(const KernelShape& s) {
  return {std::clamp(log2_of(s.bytes), 9.0, 28.0), log2_of(s.gpus), log2_of(s.nodes)};
}

// Dispatch or combine of one layer, normal mode: the SMs given to communication move every token
// and every byte; the wire bounds them where there are many. The square root is the pipeline of
// chunks filling. Between nodes, the NIC is the wire, shared worse as nodes grow in number.
double deepep_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double start = c[0] * std::pow(s.nodes, c[1]);
  const double link = s.bytes / (c[2] * d.link_bandwidth);
  const double nic = s.nic_bytes / (c[3] * d.nic_bandwidth) * std::pow(s.nodes, c[4]);
  const double moved = s.nic_bytes > 0 ? s.nic_bytes : s.bytes;
  const double sms = (s.tokens * c[5] * 1e-9 + moved / (c[6] * 1e9)) / s.sms;
  const double fill = c[7] * 1e-6 * std::sqrt(moved * 1e-6 / s.sms);
  return start * 1e-6 + soft_max(soft_max(link, nic, 3), sms, c[8]) + fill;
}

Coordinates deepep_coordinates(const KernelShape& s) {
  return {log2_of(s.tokens), std::log2(s.bytes / s.tokens), log2_of(s.sms), log2_of(s.nodes)};
}

// Low-latency mode: every (token, expert) pair is a message of its own. Experts are dealt to SMs,
// as many to each as it takes, and only those SMs work: few experts are slow. Every expert is
// polled, with or without tokens.
double busy_sms(const KernelShape& s, const DeviceCeilings& d) {
  return std::min(d.sms, s.total_experts / std::ceil(s.total_experts / d.sms));
}

double deepep_ll_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double start = c[0] * std::pow(s.nodes, c[1]);
  const double link = (s.bytes - s.nic_bytes) / (c[2] * d.link_bandwidth);
  const double nic = s.nic_bytes / (c[3] * d.nic_bandwidth) * std::pow(s.nodes, c[4]);
  const double sms = (s.tokens * c[5] * 1e-9 + s.bytes / (c[6] * 1e9)) / busy_sms(s, d);
  const double shape = s.total_experts * c[7] * 1e-9 + s.hidden * c[9] * 1e-9;
  return start * 1e-6 + shape + soft_max(soft_max(link, nic, 3), sms, c[8]);
}

Coordinates deepep_ll_coordinates(const KernelShape& s) {
  return {log2_of(s.tokens), std::log2(s.bytes / s.tokens),
          log2_of(std::min(s.total_experts, 256.0)), log2_of(s.nodes)};
}

}  // namespace

const Form& message_form() {
  static const Form form{"message",
                         {{"alpha_us", 10, 0.5, 500},
                          {"per_rank_us", 1, 0.01, 50},
                          {"rank_power", 0.8, 0.3, 1},
                          {"wire", 0.6, 0.01, 1.05},
                          {"gamma_us_per_sqrt_mb", 5, 0.001, 500}},
                         message_seconds,
                         {"log2 bytes", "log2 GPUs", "log2 nodes"},
                         message_coordinates};
  return form;
}

const Form& deepep_form() {
  static const Form form{"deepep",
                         {{"alpha_us", 25, 1, 300},
                          {"alpha_nodes_power", 0.4, 0.01, 2},
                          {"link", 0.7, 0.05, 1.05},
                          {"nic", 0.8, 0.05, 1.05},
                          {"nic_nodes_power", 0.2, 0.001, 1},
                          {"ns_per_token_sm", 300, 1, 20000},
                          {"gb_per_s_per_sm", 18, 0.5, 200},
                          {"fill_us_per_sqrt_mb", 10, 0.01, 500},
                          {"power", 3, 1.1, 12}},
                         deepep_seconds,
                         {"log2 tokens", "log2 bytes per token", "log2 SMs", "log2 nodes"},
                         deepep_coordinates};
  return form;
}

const Form& deepep_ll_form() {
  static const Form form{"deepep_ll",
                         {{"alpha_us", 9, 1, 100},
                          {"alpha_nodes_power", 0.4, 0.01, 2},
                          {"link", 0.7, 0.05, 1.05},
                          {"nic", 0.8, 0.05, 1.05},
                          {"nic_nodes_power", 0.2, 0.001, 1},
                          {"ns_per_token_sm", 1000, 1, 10000},
                          {"gb_per_s_per_sm", 10, 0.5, 200},
                          {"ns_per_expert", 10, 0.1, 200},
                          {"power", 2, 1.1, 12},
                          {"ns_per_channel", 0.2, 0.001, 5}},
                         deepep_ll_seconds,
                         {"log2 tokens", "log2 bytes per token", "log2 experts", "log2 nodes"},
                         deepep_ll_coordinates};
  return form;
}

}  // namespace moesim
