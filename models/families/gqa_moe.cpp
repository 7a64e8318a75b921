#include "models/family_ops.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// Grouped-query (or multi-head) attention, full, sliding or chunked, over any FFN: dense, routed,
// shared experts or a dense branch beside the experts. serving-semantics 4.1.
class GqaMoe final : public FamilyBase {
 public:
  Op attention_decode(const Shard& shard, const LayerClass& layers, int sequences,
                      std::int64_t kv_tokens) const override {
    return gqa_decode(shard, layers, sequences, kv_tokens);
  }

  Op attention_prefill(const Shard& shard, const LayerClass& layers, int new_tokens,
                       int cached) const override {
    return gqa_prefill(shard, layers, new_tokens, cached);
  }

 private:
  void append_attention(const Shard& shard, const LayerClass& layers, int tokens,
                        std::vector<Op>& out) const override {
    append_gqa_projections(shard, layers, tokens, out);
  }
};

const Register<Family> kGqaMoe{"gqa_moe",
                               "grouped-query attention; dense, routed and shared experts",
                               [](Reader&) { return std::make_unique<GqaMoe>(); }};

}  // namespace

}  // namespace moesim
