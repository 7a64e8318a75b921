#include "sim/kernel_log.h"

#include <algorithm>
#include <utility>

namespace moesim {
namespace {

const char* memory_name(MemoryPart part) {
  switch (part) {
    case MemoryPart::kNorm:
    case MemoryPart::kInnerNorm:
      return "norm";
    case MemoryPart::kRotary:
      return "rotary";
    case MemoryPart::kKvWrite:
      return "kv_write";
    case MemoryPart::kActivation:
      return "activation";
    case MemoryPart::kRouting:
    case MemoryPart::kAlign:
    case MemoryPart::kExpertSum:
      return "moe_routing";
    case MemoryPart::kEmbedding:
      return "embedding";
    case MemoryPart::kState:
      return "linear_attention_state";
    case MemoryPart::kOther:
      break;
  }
  return "memory";
}

const char* op_name(const Op& op) {
  switch (op.kind) {
    case OpKind::kGemm:
      return "gemm";
    case OpKind::kGroupedGemm:
      return "moe";
    case OpKind::kAttentionDecode:
      return "attention_generation";
    case OpKind::kAttentionPrefill:
      return "attention_context";
    case OpKind::kMlaDecode:
      return "mla_generation";
    case OpKind::kMlaPrefill:
      return "mla_context";
    case OpKind::kElementwise:
      return memory_name(op.part);
    case OpKind::kSampling:
      return "sampler";
    case OpKind::kAllReduce:
      return "all_reduce";
    case OpKind::kSendRecv:
      return "send_recv";
  }
  return "";
}

class Logged final : public KernelModel {
 public:
  Logged(std::unique_ptr<KernelModel> kernels, KernelLog& log)
      : kernels_(std::move(kernels)), log_(log) {}

  [[nodiscard]] KernelTime time(const Op& op) const override {
    const KernelTime time = kernels_->time(op);
    log_.add(op, time);
    return time;
  }
  [[nodiscard]] bool attends_mixed_batches() const override {
    return kernels_->attends_mixed_batches();
  }
  [[nodiscard]] KernelTime mixed_attention(const Op& prompts, const Op& decodes) const override {
    const KernelTime time = kernels_->mixed_attention(prompts, decodes);
    log_.add(prompts, time);
    return time;
  }
  [[nodiscard]] std::vector<KernelOrigin> origins(const ModelSpec& model) const override {
    return kernels_->origins(model);
  }

 private:
  std::unique_ptr<KernelModel> kernels_;
  KernelLog& log_;
};

}  // namespace

void KernelLog::add(const Op& op, const KernelTime& time) {
  if (time.time <= Seconds(0)) return;  // inside another kernel
  const char* const name = op_name(op);
  const auto same = [&](const Entry& entry) {
    return entry.term == op.term && entry.provenance == time.provenance && entry.op == name;
  };
  auto at = std::ranges::find_if(entries_, same);
  if (at == entries_.end())
    at = entries_.insert(at, Entry{op.term, name, time.provenance, Seconds(0)});
  at->time = at->time + op.repeat * time.time;
}

std::unique_ptr<KernelModel> logged(std::unique_ptr<KernelModel> kernels, KernelLog& log) {
  return std::make_unique<Logged>(std::move(kernels), log);
}

}  // namespace moesim
