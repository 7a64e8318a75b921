#include "hardware/cluster.h"

#include <doctest/doctest.h>

#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

TEST_CASE("a mixed cluster counts the nodes and GPUs of every kind") {
  ClusterSpec cluster;
  CHECK(cluster.total_nodes() == 0);
  CHECK(cluster.total_gpus() == 0);
  cluster.nodes.push_back({round_system(), 3, 8});
  cluster.nodes.push_back({round_system(), 2, 4});
  CHECK(cluster.total_nodes() == 5);
  CHECK(cluster.total_gpus() == 32);
}

}  // namespace
}  // namespace moesim
