#include "sim/report/step_messages.h"

namespace moesim {

StepMessages::StepMessages(const ModelSpec& model, const Parallel& parallel)
    : family_(make_family(model)) {
  for (int stage = 0; stage < parallel.pp; ++stage) {
    shards_.push_back(make_shard(model, parallel, stage).shard);
    classes_.push_back(layer_classes(shards_.back()));
  }
}

StepMessages::Bytes StepMessages::bytes(int stage, int tokens, int rows) {
  scratch_.clear();
  family_->token_ops(shard(stage), classes_[static_cast<std::size_t>(stage)], tokens, scratch_);
  if (shard(stage).has_lm_head) family_->sample_ops(shard(stage), rows, scratch_);
  Bytes sums{};
  for (const Op& op : scratch_)
    sums[static_cast<std::size_t>(op.term)] += op.message_bytes * op.repeat;
  return sums;
}

}  // namespace moesim
