#include "scenarios/routing_replay.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <map>
#include <set>
#include <vector>

#include "scenarios/routing_trace.h"
#include "scenarios/workload.h"
#include "tests/scenarios/routing_support.h"

namespace moesim {
namespace {

using Mode = RoutingReplay::Mode;
using Options = RoutingReplay::Options;

/// Sequences of given lengths with `prompt` prompt rows each, of domains 0, 1, 0, 1, ...
RoutingTable table_of(const std::vector<std::uint32_t>& rows, std::uint32_t prompt = 0) {
  std::uint64_t all = 0;
  for (const std::uint32_t n : rows) all += n;
  RoutingTable table({.layers = 1, .experts = 4, .top_k = 1}, all);
  std::uint64_t first = 0;
  std::uint16_t domain = 0;
  for (const std::uint32_t n : rows) {
    RoutedSequence sequence;
    sequence.first_row = first;
    sequence.rows = n;
    sequence.prompt_rows = prompt;
    sequence.domain = domain;
    table.sequences.push_back(sequence);
    first += n;
    domain = domain == 0 ? 1 : 0;
  }
  table.domains = {{0, "law", "text"}, {1, "python", "code"}};
  return table;
}

TEST_CASE("a request takes its sequence's rows in order, then rows behind the template") {
  const RoutingTable table = table_of({100, 50}, 10);
  const RoutingReplay replay(table, {});
  std::set<std::uint32_t> chosen;
  for (std::uint64_t request = 0; request < 40; ++request) {
    const RoutingReplay::Walk walk = replay.walk(request);
    chosen.insert(walk.sequence);
    const RoutedSequence& sequence = table.sequences[walk.sequence];
    const std::uint32_t decode = sequence.rows - 10;
    for (std::uint32_t i = 0; i < 10; ++i)
      REQUIRE(replay.prompt_row(walk, i) == sequence.first_row + i);
    for (std::uint32_t j = 0; j < decode; ++j)
      REQUIRE(replay.decode_row(walk, j) == sequence.first_row + 10 + j);
    for (std::uint32_t j = decode; j < 500; ++j) {
      const std::uint64_t row = replay.decode_row(walk, j);
      REQUIRE(row >= sequence.first_row + 10 + 32);
      REQUIRE(row < sequence.first_row + sequence.rows);
    }
    // Ten prompt rows are too few for a template of 32: all of them serve again.
    for (std::uint32_t i = 10; i < 100; ++i)
      REQUIRE(replay.prompt_row(walk, i) - sequence.first_row < 10);
  }
  CHECK(chosen.size() == 2);
}

TEST_CASE("a wrap begins anywhere and goes round once, each wrap elsewhere") {
  const RoutingTable table = table_of({132});
  const RoutingReplay replay(table, {});
  const RoutingReplay::Walk walk = replay.walk(7);
  std::set<std::uint64_t> starts;
  for (std::uint32_t wrap = 0; wrap < 20; ++wrap) {
    std::set<std::uint64_t> seen;
    for (std::uint32_t i = 0; i < 100; ++i)
      seen.insert(replay.decode_row(walk, 132 + wrap * 100 + i));
    CHECK(seen.size() == 100);
    CHECK(*seen.begin() == 32);
    starts.insert(replay.decode_row(walk, 132 + wrap * 100));
  }
  CHECK(starts.size() > 10);
}

TEST_CASE("without prompt rows a prompt takes decode rows behind the template") {
  const RoutingTable table = table_of({100, 40});
  const RoutingReplay replay(table, {});
  CHECK(replay.prefill_from_decode());
  CHECK_FALSE(RoutingReplay(table_of({50}, 5), {}).prefill_from_decode());
  std::set<std::uint64_t> first_rows;
  for (std::uint64_t request = 0; request < 20; ++request) {
    const RoutingReplay::Walk walk = replay.walk(request);
    const RoutedSequence& sequence = table.sequences[walk.sequence];
    for (std::uint32_t i = 0; i < 200; ++i) {
      const std::uint64_t row = replay.prompt_row(walk, i);
      REQUIRE(row >= sequence.first_row + 32);
      REQUIRE(row < sequence.first_row + sequence.rows);
    }
    first_rows.insert(replay.prompt_row(walk, 0));
  }
  CHECK(first_rows.size() > 5);
}

TEST_CASE("routing depends on seed, request and position, and on nothing else") {
  const RoutingTable table = table_of({70, 80, 90, 100});
  const Options options{.seed = 3};
  const RoutingReplay one(table, options), other(table, options);
  // Two orders of asking, one of them with other requests in between.
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::uint64_t> rows;
  for (std::uint64_t request = 0; request < 30; ++request) {
    const RoutingReplay::Walk walk = one.walk(request);
    for (std::uint32_t j = 0; j < 300; j += 7) rows[{request, j}] = one.decode_row(walk, j);
  }
  for (std::uint32_t j = 294; j < 300; j -= 7) {
    for (std::uint64_t request = 29; request < 30; --request)
      REQUIRE(other.decode_row(other.walk(request), j) == rows[{request, j}]);
  }
  int different = 0;
  const RoutingReplay reseeded(table, {.seed = 4});
  for (std::uint64_t request = 0; request < 100; ++request)
    different += reseeded.walk(request).sequence != one.walk(request).sequence ? 1 : 0;
  CHECK(different > 50);
}

TEST_CASE("without replacement every sequence serves once before any serves twice") {
  const RoutingTable table = table_of({40, 40, 40, 40, 40, 40, 40});
  const RoutingReplay replay(table, {.replace = false, .seed = 9});
  std::set<std::vector<std::uint32_t>> orders;
  for (std::uint64_t epoch = 0; epoch < 6; ++epoch) {
    std::vector<std::uint32_t> order;
    for (std::uint64_t i = 0; i < 7; ++i) {
      order.push_back(replay.walk(epoch * 7 + i).sequence);
      CHECK(replay.epoch(epoch * 7 + i) == epoch);
    }
    orders.insert(order);
    std::sort(order.begin(), order.end());
    CHECK(order == std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6});
  }
  CHECK(orders.size() > 1);
  // One sequence is a permutation, too.
  const RoutingTable single = table_of({40});
  const RoutingReplay alone(single, {.replace = false});
  CHECK(alone.walk(5).sequence == 0);
  CHECK(alone.epoch(5) == 5);
}

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

TEST_CASE("a block of shared prefix routes the same in every request") {
  const RoutingTable table = table_of({200, 300}, 100);
  const RoutingReplay replay(table, {});
  std::set<std::uint64_t> starts;
  for (std::uint64_t block = 0; block < 50; ++block) {
    const std::uint64_t first = replay.block_row(block, 0);
    starts.insert(first);
    const RoutedSequence& sequence = table.sequences[first < 200 ? 0 : 1];
    for (std::uint32_t offset = 0; offset < 512; ++offset) {
      const std::uint64_t row = replay.block_row(block, offset);
      REQUIRE(row >= sequence.first_row + 32);
      REQUIRE(row < sequence.first_row + 100);
    }
  }
  CHECK(starts.size() > 25);
}

TEST_CASE("row mode draws all decode rows alike, prompts only prompt rows") {
  const RoutingTable table = table_of({30, 10}, 5);
  const RoutingReplay replay(table, {.mode = Mode::kRow});
  const RoutingReplay shuffled(table, {.mode = Mode::kRow, .replace = false});
  std::map<std::uint64_t, int> uses;
  const RoutingReplay::Walk walk = replay.walk(3);
  for (std::uint32_t j = 0; j < 30000; ++j) ++uses[replay.decode_row(walk, j)];
  CHECK(uses.size() == 30);  // 25 + 5
  for (const auto& [row, count] : uses) {
    CHECK((row < 30 ? row >= 5 : row >= 35));
    CHECK(std::abs(count - 1000) < 160);  // five standard deviations
  }
  std::set<std::uint64_t> once, prompts;
  for (std::uint32_t j = 0; j < 30; ++j) once.insert(shuffled.decode_row(walk, j));
  CHECK(once.size() == 30);
  for (std::uint32_t i = 0; i < 300; ++i) prompts.insert(replay.prompt_row(walk, i));
  CHECK(prompts == std::set<std::uint64_t>{0, 1, 2, 3, 4, 30, 31, 32, 33, 34});
}

// --- the real trace ------------------------------------------------------------------------------

/// Means over layers of one lockstep step: tokens of an expert and of a rank, experts in use.
struct Lockstep {
  double expert_max = 0, distinct = 0, ranks4 = 0, ranks8 = 0;
};
Lockstep lockstep(const RoutingTable& table, const std::vector<RoutingReplay::Walk>& walks,
                  const RoutingReplay& replay, std::uint32_t step) {
  const RoutingShape& shape = table.shape();
  Lockstep sum;
  for (int layer = 0; layer < shape.layers; ++layer) {
    std::vector<double> counts(static_cast<std::size_t>(shape.experts));
    for (const RoutingReplay::Walk& walk : walks) {
      for (int rank = 0; rank < shape.top_k; ++rank)
        ++counts[static_cast<std::size_t>(
            table.expert(replay.decode_row(walk, step), layer, rank))];
    }
    const double all = static_cast<double>(walks.size()) * shape.top_k;
    const auto ranks = [&](std::size_t n) {
      std::vector<double> load(n);
      for (std::size_t e = 0; e < counts.size(); ++e) load[e / (counts.size() / n)] += counts[e];
      return *std::max_element(load.begin(), load.end()) / all * static_cast<double>(n);
    };
    sum.expert_max += *std::max_element(counts.begin(), counts.end()) / all * shape.experts;
    sum.distinct += static_cast<double>(
        std::count_if(counts.begin(), counts.end(), [](double count) { return count > 0; }));
    sum.ranks4 += ranks(4);
    sum.ranks8 += ranks(8);
  }
  const double layers = shape.layers;
  return {sum.expert_max / layers, sum.distinct / layers, sum.ranks4 / layers, sum.ranks8 / layers};
}

TEST_CASE("64 requests in lockstep load experts as the recording does") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  // gpt_oss_20b_stats.json, lockstep_decode.64: the first 64 sequences of at least 200 rows that
  // are no repetition loops. Without replacement 64 requests take each of them once.
  RoutingTable table = read_routed_tokens(path);
  std::erase_if(table.sequences, [](const RoutedSequence& sequence) {
    return (sequence.flags & 2) != 0 || sequence.rows < 200;
  });
  table.sequences.resize(64);
  const RoutingReplay replay(table, {.replace = false});
  std::vector<RoutingReplay::Walk> walks;
  for (std::uint64_t request = 0; request < 64; ++request) walks.push_back(replay.walk(request));
  Lockstep late;
  for (std::uint32_t step = 8; step < 200; ++step) {
    const Lockstep now = lockstep(table, walks, replay, step);
    late.expert_max += now.expert_max / 192;
    late.distinct += now.distinct / 192;
    late.ranks4 += now.ranks4 / 192;
    late.ranks8 += now.ranks8 / 192;
  }
  const auto near = [](double value, double expected) { return std::abs(value - expected) < 6e-4; };
  CHECK_MESSAGE(near(late.expert_max, 2.929), late.expert_max);
  CHECK_MESSAGE(near(late.distinct, 28.043), late.distinct);
  CHECK_MESSAGE(near(late.ranks4, 1.208), late.ranks4);
  CHECK_MESSAGE(near(late.ranks8, 1.520), late.ranks8);
  const Lockstep first = lockstep(table, walks, replay, 0);
  CHECK_MESSAGE(near(first.expert_max, 8.0), first.expert_max);
  CHECK_MESSAGE(near(first.distinct, 7.167), first.distinct);
}

/// Share of experts that consecutive tokens of requests have in common, mean over layers.
double adjacent_overlap(const RoutingTable& table, const RoutingReplay& replay) {
  const RoutingShape& shape = table.shape();
  std::uint64_t shared = 0, all = 0;
  for (std::uint64_t request = 0; request < 100; ++request) {
    const RoutingReplay::Walk walk = replay.walk(request);
    for (std::uint32_t j = 0; j < 200; ++j) {
      const std::uint64_t a = replay.decode_row(walk, j), b = replay.decode_row(walk, j + 1);
      for (int layer = 0; layer < shape.layers; ++layer) {
        for (int i = 0; i < shape.top_k; ++i, ++all) {
          for (int k = 0; k < shape.top_k; ++k)
            shared += table.expert(a, layer, i) == table.expert(b, layer, k) ? 1U : 0U;
        }
      }
    }
  }
  return static_cast<double>(shared) / static_cast<double>(all);
}

TEST_CASE("row mode loses the likeness of neighbours, sequence mode keeps it") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  const RoutingTable table = read_routed_tokens(path);
  CHECK(adjacent_overlap(table, RoutingReplay(table, {.mode = Mode::kRow})) ==
        doctest::Approx(0.200).epsilon(0.025));  // within 0.005
  CHECK(adjacent_overlap(table, RoutingReplay(table, {})) == doctest::Approx(0.443).epsilon(0.05));
}

TEST_CASE("independent mode loses what one layer's choice says about the next") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  const RoutingTable table = read_routed_tokens(path);
  const RoutingReplay replay(table, {.mode = Mode::kIndependent});
  // First choices at layers 10 and 11: mutual information over the entropy of layer 11's.
  std::vector<int> here, next;
  for (std::uint32_t j = 0; j < 60000; ++j) {
    here.push_back(table.expert(replay.layer_row(j % 97, false, j / 97, 10), 10, 0));
    next.push_back(table.expert(replay.layer_row(j % 97, false, j / 97, 11), 11, 0));
  }
  CHECK(information_share(here, next, 32) < 0.02);
}

}  // namespace
}  // namespace moesim
