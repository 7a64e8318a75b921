#include "sim/steptime/expert_setup.h"

#include <doctest/doctest.h>
#include <vector>

#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

TEST_CASE("experts of a layer lie on the GPUs of its own pipeline stage") {
  // A dense layer and three MoE layers over two stages of two data-parallel ranks with two GPUs.
  ModelSpec model = three_layers();
  model.layers.push_back(model.layers.back());
  const Parallel parallel{.tp = 2, .pp = 2, .dp = 2, .expert_parallel = true};
  const std::vector<int> gpus = {10, 11, 12, 13, 14, 15, 16, 17};
  const StageParts parts = stage_parts(model, parallel, gpus);
  // Rank order is DP, stage, TP.
  CHECK(parts.gpus == std::vector<std::vector<int>>{{10, 11, 14, 15}, {12, 13, 16, 17}});
  CHECK(parts.stage_of_layer == std::vector<int>{0, 1, 1});
}
