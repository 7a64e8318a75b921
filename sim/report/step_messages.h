#pragma once

#include <array>
#include <memory>
#include <vector>

#include "models/family.h"
#include "models/op.h"
#include "models/sharding.h"

namespace moesim {

/// What the ranks of one instance send each other in a step, by the same operators the step is
/// priced with.
class StepMessages {
 public:
  /// `model` must outlive the object.
  StepMessages(const ModelSpec& model, const Parallel& parallel);

  [[nodiscard]] int stages() const { return static_cast<int>(shards_.size()); }
  /// Layers [first_layer, last_layer) of a stage are in the shard.
  [[nodiscard]] const Shard& shard(int stage) const {
    return shards_[static_cast<std::size_t>(stage)];
  }
  using Bytes = std::array<double, kTermCount>;
  /// Payload per rank of a stage in one step, summed over its messages, by term; 0 for terms that
  /// send nothing. `tokens` after padding, `rows` sampled.
  [[nodiscard]] Bytes bytes(int stage, int tokens, int rows);

 private:
  std::unique_ptr<Family> family_;
  std::vector<Shard> shards_;
  std::vector<std::vector<LayerClass>> classes_;  ///< [stage]
  std::vector<Op> scratch_;
};

}  // namespace moesim
