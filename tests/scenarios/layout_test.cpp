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

TEST_CASE("why there is no room is said, and what helps") {
  struct Case {
    const char* why;
    ClusterSpec cluster;
    std::vector<InstanceSpec> entries;
    std::size_t index;
    const char *problem, *hint;
  };
  const Case cases[] = {
      {"too few GPUs",
       cluster({{1, 4}}),
       {entry(1, 8)},
       0,
       "an instance of 8 GPUs does not fit a cluster of 4 GPUs",
       "8 GPUs are needed here: fewer or smaller instances, or a larger system.nodes"},
      {"too few are left",
       cluster({{1, 4}}),
       {entry(1, 2), entry(2, 2)},
       1,
       "2 instances of 2 GPUs do not fit a cluster of 4 GPUs, of which 2 are taken by entries "
       "before",
       "4 GPUs are needed here: fewer or smaller instances, or a larger system.nodes"},
      {"too few of the kind named",
       cluster({{1, 2}, {1, 4}}),
       {entry(1, 4, 1, 0)},
       0,
       "an instance of 4 GPUs does not fit the nodes of kind 0, of 2 GPUs",
       "4 GPUs are needed here: fewer or smaller instances, or a larger system.nodes"},
      {"two kinds of node",
       cluster({{1, 8}, {1, 4}}),
       {entry(1, 12)},
       0,
       "an instance of 12 GPUs does not fit a cluster of 12 GPUs: an entry's instances run on "
       "nodes of one kind, and none has more than 8 free GPUs",
       "write nodes of one kind, or smaller instances"},
      {"copies on two kinds of node",
       cluster({{1, 8}, {1, 4}}),
       {entry(3, 4)},
       0,
       "3 instances of 4 GPUs do not fit a cluster of 12 GPUs: an entry's instances run on nodes "
       "of one kind, and none has more than 8 free GPUs",
       "write an entry for each kind of node, or nodes of one kind"},
      {"half nodes are left",
       cluster({{3, 8}}),
       {entry(2, 12)},
       0,
       "2 instances of 12 GPUs do not fit a cluster of 24 GPUs: each starts on a free node of 8 "
       "GPUs and needs 2 of them in a row, and 3 of 3 are free",
       "write sizes that are multiples of 8, fewer instances, or a larger system.nodes"},
      {"a smaller one is in the way",
       cluster({{2, 8}}),
       {entry(1, 4), entry(1, 12)},
       1,
       "an instance of 12 GPUs does not fit a cluster of 16 GPUs: each starts on a free node of 8 "
       "GPUs and needs 2 of them in a row, and 1 of 2 are free",
       "write larger instances first: in that order all have room"},
      {"none lies over two nodes",
       cluster({{2, 3}}),
       {entry(3, 2)},
       0,
       "3 instances of 2 GPUs do not fit a cluster of 6 GPUs: none lies over two nodes unless it "
       "is larger than one, and nodes of 3 GPUs have room for 2",
       "write sizes that divide 3, fewer instances, or a larger system.nodes"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    REQUIRE(lay_out(c.cluster, c.entries).node[c.index] == -1);
    const Misfit misfit = why_no_room(c.cluster, c.entries, c.index);
    CHECK(misfit.problem == c.problem);
    CHECK(misfit.hint == c.hint);
  }
}

}  // namespace
}  // namespace moesim
