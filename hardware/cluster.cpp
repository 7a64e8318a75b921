#include "hardware/cluster.h"

namespace moesim {

int ClusterSpec::total_gpus() const {
  int sum = 0;
  for (const NodeGroup& group : nodes) sum += group.count * group.gpus;
  return sum;
}

int ClusterSpec::total_nodes() const {
  int sum = 0;
  for (const NodeGroup& group : nodes) sum += group.count;
  return sum;
}

}  // namespace moesim
