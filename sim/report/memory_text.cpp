#include <algorithm>
#include <fmt/format.h>
#include <ostream>
#include <string>
#include <vector>

#include "sim/report/number_text.h"
#include "sim/report/report.h"
#include "sim/report/text_parts.h"

namespace moesim {
namespace {

constexpr double kGib = 1073741824.0;

std::string gib(Bytes bytes) {
  return fmt::format("{:.1f}", static_cast<double>(bytes.value()) / kGib);
}

std::string gpu_text(const GpuMemory& gpu) {
  return fmt::format(
      "{}: weights {}, KV cache {}, activations {}, graphs {}, buffers {}, framework {}, "
      "free {}",
      gib(gpu.capacity), gib(gpu.weights.total()), gib(gpu.kv_cache), gib(gpu.activation_peak),
      gib(gpu.cuda_graph), gib(gpu.comm_buffer), gib(gpu.framework), gib(gpu.free));
}

std::string kv_text(const KvRoom& kv) {
  return fmt::format("{} blocks of {}: {} tokens, {} requests of max_model_len",
                     short_number(static_cast<double>(kv.num_gpu_blocks)), kv.block_size,
                     short_number(static_cast<double>(kv.num_kv_tokens)),
                     short_number(kv.max_concurrency_at_max_model_len));
}

/// A table with a column for each kind of instance.
class Table {
 public:
  Table(const std::vector<InstanceMemory>& kinds, std::ostream& out) : kinds_(kinds), out_(out) {}

  /// One row; `cell` makes the text of a kind.
  template <class Cell>
  void line(const char* name, Cell&& cell) {
    out_ << fmt::format("{:<22}", name);
    for (const InstanceMemory& kind : kinds_) out_ << fmt::format(" {:>9}", cell(kind));
    out_ << '\n';
  }

  /// In GiB; no row where nobody has any.
  template <class Part>
  void bytes(const char* name, Part&& part) {
    const auto none = [&](const InstanceMemory& kind) { return part(kind.per_gpu).value() == 0; };
    if (std::all_of(kinds_.begin(), kinds_.end(), none)) return;
    line(name, [&](const InstanceMemory& kind) {
      return short_number(static_cast<double>(part(kind.per_gpu).value()) / kGib);
    });
  }

 private:
  const std::vector<InstanceMemory>& kinds_;
  std::ostream& out_;
};

void write_parts(Table& table) {
  using Gpu = const GpuMemory&;
  table.bytes("weights", [](Gpu gpu) { return gpu.weights.total(); });
  table.bytes("  attention", [](Gpu gpu) { return gpu.weights.attention; });
  table.bytes("  dense ffn", [](Gpu gpu) { return gpu.weights.dense_ffn; });
  table.bytes("  routed experts", [](Gpu gpu) { return gpu.weights.routed_experts; });
  table.bytes("  redundant experts", [](Gpu gpu) { return gpu.weights.redundant_experts; });
  table.bytes("  shared experts", [](Gpu gpu) { return gpu.weights.shared_experts; });
  table.bytes("  router", [](Gpu gpu) { return gpu.weights.router; });
  table.bytes("  embedding", [](Gpu gpu) { return gpu.weights.embedding; });
  table.bytes("  lm head", [](Gpu gpu) { return gpu.weights.lm_head; });
  table.bytes("  lora", [](Gpu gpu) { return gpu.weights.lora; });
  table.bytes("  other", [](Gpu gpu) { return gpu.weights.other; });
  table.bytes("KV cache", [](Gpu gpu) { return gpu.kv_cache; });
  table.bytes("activation peak", [](Gpu gpu) { return gpu.activation_peak; });
  table.bytes("CUDA graphs", [](Gpu gpu) { return gpu.cuda_graph; });
  table.bytes("communication buffers", [](Gpu gpu) { return gpu.comm_buffer; });
  table.bytes("framework", [](Gpu gpu) { return gpu.framework; });
  table.bytes("free", [](Gpu gpu) { return gpu.free; });
  table.bytes("capacity", [](Gpu gpu) { return gpu.capacity; });
  table.bytes("usable by the engine", [](Gpu gpu) { return gpu.usable; });
  table.bytes("experts elsewhere", [](Gpu gpu) { return gpu.offloaded; });
}

void write_kv(Table& table) {
  table.line("KV blocks", [](const InstanceMemory& kind) { return kind.kv.num_gpu_blocks; });
  table.line("tokens per block", [](const InstanceMemory& kind) { return kind.kv.block_size; });
  table.line("KV tokens", [](const InstanceMemory& kind) { return kind.kv.num_kv_tokens; });
  table.line("bytes per token",
             [](const InstanceMemory& kind) { return kind.kv.bytes_per_token.value(); });
  table.line("requests of max length", [](const InstanceMemory& kind) {
    return short_number(kind.kv.max_concurrency_at_max_model_len);
  });
}

}  // namespace

void write_memory_rows(const MemorySection& memory, std::ostream& out) {
  if (memory.instances.empty()) {
    row(out, "GPU memory GiB", gpu_text(memory.per_gpu));
    row(out, "KV cache", kv_text(memory));
  }
  for (const InstanceMemory& kind : memory.instances) {
    row(out, "GPU memory GiB", fmt::format("{} of {}", kind.instance, gpu_text(kind.per_gpu)));
    row(out, "KV cache", fmt::format("{}: {}", kind.instance, kv_text(kind.kv)));
  }
}

void write_text(const MemoryReport& report, std::ostream& out) {
  out << fmt::format("{} on {}\n\n", report.model.id, layout_text(report.nodes, report.instances));
  std::vector<InstanceMemory> kinds = report.memory.instances;
  if (kinds.empty()) kinds.push_back({"", report.memory.per_gpu, report.memory});
  Table table(kinds, out);
  if (kinds.size() > 1)
    table.line("instance", [](const InstanceMemory& kind) { return kind.instance; });
  table.line("fullest GPU", [](const InstanceMemory&) { return "GiB"; });
  write_parts(table);
  out << '\n';
  write_kv(table);
  for (const MemoryReport::Problem& problem : report.problems) {
    out << fmt::format("\ninstance {} does not fit: {}", problem.instance, problem.reason);
    if (problem.shortfall > Bytes(0))
      out << fmt::format(" ({} per GPU too much)", to_gib_text(problem.shortfall));
    out << '\n';
    if (problem.remedies.empty())
      out << "  nothing tried makes it fit: utilisation, context, batch, adapters, formats down to "
             "4 "
             "bits, up to 16 times the GPUs\n";
    for (const Remedy& remedy : problem.remedies)
      out << fmt::format("  would fit with {}: {}\n", remedy.change, remedy.why);
  }
  write_warnings(report.warnings, out);
}

}  // namespace moesim
