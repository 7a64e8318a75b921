#include "scenarios/layout.h"

#include <doctest/doctest.h>

namespace moesim {
namespace {

ClusterSpec cluster(std::vector<std::pair<int, int>> nodes_and_gpus) {
  ClusterSpec result;
  for (const auto& [nodes, gpus] : nodes_and_gpus)
    result.nodes.push_back({.system = {}, .count = nodes, .gpus = gpus});
  return result;
}

InstanceSpec entry(int count, int tp, int pp = 1, int node = -1) {
  InstanceSpec result;
  result.count = count;
  result.parallel.tp = tp;
  result.parallel.pp = pp;
  result.node = node;
  return result;
}

using Gpus = std::vector<std::vector<int>>;

TEST_CASE("instances fill nodes in order and never straddle two") {
  const Layout layout = lay_out(cluster({{2, 4}}), {entry(3, 2)});
  CHECK(layout.gpus == Gpus{{0, 1}, {2, 3}, {4, 5}});
  CHECK(layout.idle == 2);
  const Layout odd = lay_out(cluster({{2, 3}}), {entry(2, 2)});
  CHECK(odd.gpus == Gpus{{0, 1}, {3, 4}});
}

TEST_CASE("a later, smaller entry takes what was left over") {
  const Layout layout = lay_out(cluster({{2, 3}}), {entry(2, 2), entry(2, 1)});
  CHECK(layout.gpus == Gpus{{0, 1}, {3, 4}, {2}, {5}});
  CHECK(layout.idle == 0);
}

TEST_CASE("an instance larger than a node takes whole nodes in a row") {
  const Layout layout = lay_out(cluster({{3, 2}}), {entry(1, 1), entry(1, 2, 2)});
  CHECK(layout.gpus == Gpus{{0}, {2, 3, 4, 5}});
  CHECK(lay_out(cluster({{3, 2}}), {entry(2, 1), entry(1, 4), entry(1, 1)}).node ==
        std::vector<int>{0, 0, -1});
}

TEST_CASE(
    "an entry goes to the kind of node it names, else to the first with room for all its copies") {
  const Layout layout = lay_out(cluster({{1, 2}, {1, 4}}), {entry(2, 2), entry(1, 1, 1, 0)});
  CHECK(layout.node == std::vector<int>{1, 0});
  CHECK(layout.gpus == Gpus{{2, 3}, {4, 5}, {0}});
  CHECK(lay_out(cluster({{1, 2}, {1, 4}}), {entry(1, 4, 1, 0)}).node == std::vector<int>{-1});
}

TEST_CASE("an entry that does not fit leaves room for the next") {
  const Layout layout = lay_out(cluster({{1, 4}}), {entry(3, 2), entry(2, 2)});
  CHECK(layout.node == std::vector<int>{-1, 0});
  CHECK(layout.idle == 0);
}

}  // namespace
}  // namespace moesim
