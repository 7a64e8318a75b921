#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "calibrate/import/kernel_rows.h"
#include "hardware/expert_traffic.h"

namespace moesim {

namespace {

constexpr double kMicro = 1e-6;

/// "0.5.6.post2" -> {0, 5, 6, 2}: versions in the order of their numbers.
std::vector<int> version_numbers(const std::string& version) {
  std::vector<int> numbers;
  bool digits = false;
  for (const char c : version) {
    const bool digit = c >= '0' && c <= '9';
    if (digit && !digits) numbers.push_back(0);
    if (digit) numbers.back() = numbers.back() * 10 + (c - '0');
    digits = digit;
  }
  return numbers;
}

/// Newest version per value of a column ("" for the whole table).
std::map<std::string, std::string> newest(KernelTable& table, const char* version,
                                          const char* per) {
  std::map<std::string, std::string> result;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    std::string& best = result[table.text(row, {per})];
    const std::string found = table.text(row, {version});
    if (version_numbers(best) < version_numbers(found)) best = found;
  }
  return result;
}

KernelSample message(KernelTable& table, std::size_t row, const char* op,
                     const std::string& kernel) {
  KernelSample sample;
  sample.system = table.system();
  sample.op = op;
  sample.kernel = kernel;
  sample.shape.gpus = table.size(row, {"gpus"});
  sample.shape.bytes = table.size(row, {"bytes"}, kMessageBytes);
  // The size is left out with the shape: neighbouring sizes of one sweep tell it all but exactly.
  sample.shape_key = table.text(row, {"gpus"}) + " GPUs, " + table.text(row, {"bytes"});
  sample.seconds = table.microseconds(row, {"latency_us"}) * kMicro;
  return sample;
}

// One library serves every framework. What only moves bytes takes as long for int8 as for half
// (0.1 % on average from 10 MB), so their rows are pooled. What adds does not: int8 is 5 % slower,
// and 26 % in a 256 MiB all-reduce over 8 H100, as if the switch added half but not int8. Those are
// curves of their own, "int8"; a simulated reduction is of 16-bit numbers.
void read_nccl(KernelTable& table, KernelSamples& out) {
  const auto versions = newest(table, "nccl", "");
  std::size_t older = 0;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    if (table.text(row, {"nccl"}) != versions.at("")) {
      ++older;
      continue;
    }
    const std::string op = table.text(row, {"op"});
    const std::string dtype = table.text(row, {"dtype"});
    if (dtype != "half" && dtype != "int8")
      table.mistake(row, "dtype", "unknown element type '" + dtype + "'");
    KernelSample sample = message(table, row, "nccl", op);
    const bool adds = op == "all_reduce" || op == "reduce_scatter" || op == "reduce";
    if (adds && dtype == "int8") sample.dtype = "int8";
    out.samples.push_back(std::move(sample));
  }
  if (older > 0)
    out.notes.push_back({table.path().string() + ": " + std::to_string(older) +
                             " rows of versions before NCCL " + versions.at("") + " left out",
                         older});
}

void read_custom_all_reduce(KernelTable& table, KernelSamples& out) {
  for (std::size_t row = 0; row < table.rows(); ++row) {
    KernelSample sample = message(table, row, "custom_allreduce", table.text(row, {"mode"}));
    sample.framework = table.text(row, {"src", "framework"});
    out.samples.push_back(std::move(sample));
  }
}

// Vidur's clusters: what the other tables lack, send_recv inside a DGX and collectives between
// nodes. Its H100 pairwise rows are a copy of the A100 ones, and pairs joined by bridges are no
// system of ours.
void read_vidur_network(KernelTable& table, KernelSamples& out) {
  std::size_t unused = 0;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const std::string network = table.text(row, {"network"});
    const std::string op = table.text(row, {"op"});
    const double nodes = table.size(row, {"gpus"}) / table.size(row, {"gpus_per_node"});
    const bool a100 = network == "a100_dgx";
    if ((!a100 && network != "h100_dgx") || (nodes <= 1 && op != "send_recv")) {
      ++unused;
      continue;
    }
    KernelSample sample = message(table, row, "nccl", op);
    sample.system = a100 ? "a100_sxm" : "h100_sxm";
    sample.shape.nodes = std::max(1.0, nodes);
    if (nodes > 1) sample.dtype = "nodes";
    out.samples.push_back(std::move(sample));
  }
  out.notes.push_back({table.path().string() +
                           ": only send_recv in a DGX and messages between DGX nodes are used; the "
                           "fabric between the nodes is slower than their NICs",
                       unused});
}

/// What a rank sends in one dispatch (fp8) or combine (bfloat16) of a table's row.
KernelSample expert_message(KernelTable& table, std::size_t row, bool low_latency, bool dispatch) {
  const double per_node = table.system().ends_with("gb200") ? 4 : 8;
  ExpertGroup group;
  group.nodes = table.size(row, {"nodes"}, {}, 1);
  group.ranks = per_node * group.nodes;
  group.experts = table.size(row, {"experts"}, kExpertCount);
  group.topk = table.size(row, {"topk"}, kExpertCount);
  // DeepEP's normal-mode test lets a token choose among min(nodes, 4) nodes (test_internode.py).
  if (!low_latency) group.node_limit = 4;
  const ExpertTraffic copies = expected_traffic(group);
  KernelSample sample;
  sample.system = table.system();
  sample.op = low_latency ? "deepep_ll" : "deepep_normal";
  sample.kernel =
      std::string(group.nodes > 1 ? "internode_" : "") + (dispatch ? "dispatch" : "combine");
  sample.dtype = dispatch ? "fp8" : "bfloat16";
  KernelShape& s = sample.shape;
  s.tokens = table.size(row, {"tokens"}, kTokenCount);
  s.hidden = table.size(row, {"hidden"});
  s.total_experts = group.experts;
  s.topk = group.topk;
  s.gpus = group.ranks;
  s.nodes = group.nodes;
  s.sms = low_latency ? 0 : table.size(row, {"sms"});
  const double token = dispatch ? fp8_token_bytes(s.hidden) : bf16_token_bytes(s.hidden);
  const double outside = low_latency ? copies.to_experts_outside : copies.to_nodes;
  s.bytes = s.tokens * token * (low_latency ? copies.to_experts : copies.to_ranks);
  s.nic_bytes = s.tokens * token * outside;
  for (const char* column : {"nodes", "hidden", "topk", "experts", "sms"})
    sample.shape_key += table.text(row, {column}) + " ";
  const std::string name = dispatch ? "dispatch" : "combine";
  const std::string notify = name + "_notify_us";
  sample.seconds =
      (table.microseconds(row, {name + "_us"}) + table.more_microseconds(row, {notify}, 0)) *
      kMicro;
  return sample;
}

void read_deepep(KernelTable& table, KernelSamples& out) {
  const bool low_latency = !table.has("sms");
  const auto versions = newest(table, "ver", "nodes");
  std::size_t older = 0;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    if (table.text(row, {"ver"}) != versions.at(table.text(row, {"nodes"}))) {
      ++older;
      continue;
    }
    for (const bool dispatch : {true, false})
      out.samples.push_back(expert_message(table, row, low_latency, dispatch));
  }
  if (older > 0)
    out.notes.push_back({table.path().string() + ": " + std::to_string(older) +
                             " rows left out: a newer version has that number of nodes",
                         older});
}

}  // namespace

void read_message_rows(KernelTable& table, KernelSamples& out) {
  if (table.has("dispatch_us")) return read_deepep(table, out);
  if (table.has("nccl")) return read_nccl(table, out);
  if (table.has("mode")) return read_custom_all_reduce(table, out);
  read_vidur_network(table, out);
}

}  // namespace moesim
