// Which domain's sequences a request takes: its own, or those of a mix.
#include <cmath>
#include <cstdint>
#include <doctest/doctest.h>
#include <map>
#include <vector>

#include "scenarios/routing_replay.h"
#include "scenarios/workload.h"
#include "tests/scenarios/replay_support.h"
#include "tests/scenarios/routing_support.h"

namespace moesim {
namespace {

using Options = RoutingReplay::Options;

TEST_CASE("a mix of domains is drawn by share, by domain or by group") {
  const RoutingTable table = table_of({40, 40, 40, 40, 40});
  const RoutingReplay replay(table, {.domain_mix = {{0, {{"code", 1}, {"law", 3}}}}});
  const RoutingReplay exact(table,
                            {.replace = false, .domain_mix = {{0, {{"code", 1}, {"law", 3}}}}});
  int code = 0, exact_code = 0;
  std::map<std::uint32_t, int> uses;
  for (std::uint64_t request = 0; request < 4096; ++request) {
    code += replay.walk(request).sequence % 2 == 1 ? 1 : 0;
    const std::uint32_t sequence = exact.walk(request).sequence;
    exact_code += sequence % 2 == 1 ? 1 : 0;
    ++uses[sequence];
  }
  // Binomial: 1024, standard deviation 28.
  CHECK(std::abs(code - 1024) < 110);
  CHECK(exact_code == 1024);
  CHECK(uses[1] == 512);
  CHECK(uses[3] == 512);
  CHECK(uses[0] == 1024);
  const Diagnostic mistake = first_mistake([&] {
    static_cast<void>(RoutingReplay(table, {.domain_mix = {{0, {{"cod", 1}}}}}));
  });
  CHECK(mistake.key == "routing.domain_mix.cod");
  CHECK(mistake.hint == "did you mean 'code'?");
  CHECK(first_mistake([&] {
          static_cast<void>(RoutingReplay(table, {.domain_mix = {{0, {{"code", -1}}}}}));
        }).problem == "-1 is no share");
}

/// So many requests, one a second, each of `domain[i % size]`.
Workload tagged_requests(std::size_t count, const std::vector<std::uint16_t>& domain) {
  Workload requests;
  for (std::size_t r = 0; r < count; ++r) {
    requests.arrival_ns.push_back(static_cast<std::int64_t>(r) * 1'000'000'000);
    requests.prompt_tokens.push_back(10);
    requests.output_tokens.push_back(10);
    if (!domain.empty()) requests.domain.push_back(domain[r % domain.size()]);
  }
  if (!domain.empty()) requests.domain_names = {"python", "law"};
  return requests;
}

TEST_CASE("a request with a domain takes a sequence of it, the others take what the mix says") {
  const RoutingTable table = table_of({40, 40, 40, 40, 40});  // law, python, law, ...
  const Workload requests = tagged_requests(600, {0, 1, kNoDomain});
  for (const bool replace : {true, false}) {
    CAPTURE(replace);
    const RoutingReplay replay(table, {.replace = replace, .domain_mix = {{0, {{"code", 1}}}}},
                               &requests);
    std::map<std::uint32_t, int> of_law;
    for (std::uint64_t r = 0; r < 600; ++r) {
      const std::uint32_t sequence = replay.walk(r).sequence;
      CHECK(sequence % 2 == (r % 3 == 1 ? 0 : 1));
      if (r % 3 == 1) ++of_law[sequence];
    }
    CHECK(of_law.size() == 3);
    // Without replacement: 200 requests over 3 sequences, whoever comes in between.
    if (!replace) CHECK(of_law[0] - 66 < 2);
    if (!replace) CHECK(replay.epoch(598) == 66);
  }
}

TEST_CASE("domains of requests: mistakes, and tables that name none") {
  const RoutingTable table = table_of({40, 40, 40, 40, 40});
  Workload requests = tagged_requests(6, {0, 1});
  const Options mix{.domain_mix = {{0, {{"code", 1}}}}};
  CHECK(first_mistake([&] { static_cast<void>(RoutingReplay(table, mix, &requests)); }).problem ==
        "has no effect: every request has a domain of its own");
  Options naming = mix;
  naming.mix_names_domains = true;
  CHECK_NOTHROW(RoutingReplay(table, naming, &requests));
  requests.domain_names[1] = "lav";
  const Diagnostic mistake =
      first_mistake([&] { static_cast<void>(RoutingReplay(table, {}, &requests)); });
  CHECK(mistake.key == "workload.trace");
  CHECK(mistake.problem == "requests are of domain 'lav', no sequence of the routing is");
  CHECK(mistake.hint == "did you mean 'law'?");
  RoutingTable nameless = table_of({40, 40});
  nameless.domains.clear();
  CHECK_NOTHROW(RoutingReplay(nameless, {}, &requests));
}

TEST_CASE("a schedule of mixes: requests are drawn with the mix of the time they arrive") {
  const RoutingTable table = table_of({40, 40, 40, 40, 40});
  Workload requests = tagged_requests(300, {});
  const Options options{
      .domain_mix = {{0, {{"law", 1}}}, {100, {{"code", 1}}}, {200, {{"law", 1}}}}};
  const auto of = [&](const RoutingReplay& replay, std::uint64_t request) {
    return table.domains[table.sequences[replay.walk(request).sequence].domain].name;
  };
  const RoutingReplay replay(table, options, &requests);
  for (const std::uint64_t r : {0U, 50U, 99U, 200U, 299U}) CHECK(of(replay, r) == "law");
  for (const std::uint64_t r : {100U, 150U, 199U}) CHECK(of(replay, r) == "python");
  REQUIRE(replay.stretches().size() == 3);
  CHECK(replay.stretches()[1].first == 100);
  CHECK(replay.stretches()[1].last == 200);
  CHECK(replay.sequence_shares(0)[0] == doctest::Approx(1.0 / 3));
  CHECK(replay.sequence_shares(1)[0] == 0);
  CHECK(replay.sequence_shares(1)[1] == doctest::Approx(0.5));
  // A follow-up 60 s after a request at 99 s counts from there, however long that one takes.
  requests.predecessor.assign(300, kNoRequest);
  requests.predecessor[100] = 99;
  requests.arrival_ns[100] = 60'000'000'000;
  CHECK(earliest_arrivals(requests)[100] == 159'000'000'000);
  // A block of prompt is of the first request that has it.
  requests = tagged_requests(300, {});
  requests.chain_ids = 2;
  requests.chain_begin.assign(301, 0);
  for (std::size_t r = 0; r < 300; ++r) {
    if (r == 99 || r == 150) requests.chain.push_back({0, 10});
    if (r == 120) requests.chain.push_back({1, 10});
    requests.chain_begin[r + 1] = static_cast<std::uint32_t>(requests.chain.size());
  }
  const RoutingReplay blocks(table, options, &requests);
  const auto domain_of_row = [&](std::uint64_t row) {
    return row / 40 % 2 == 0 ? "law" : "python";
  };
  for (std::uint32_t offset = 0; offset < 20; ++offset) {
    CHECK(domain_of_row(blocks.block_row(0, offset)) == "law");
    CHECK(domain_of_row(blocks.block_row(1, offset)) == "python");
  }
}

}  // namespace
}  // namespace moesim
