#include "scenarios/workload.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

const char* const kSingle =
    "  arrival: {kind: poisson, request_rate: 10}\n"
    "  synthetic: {num_prompts: 500, input_tokens: {uniform: [100, 200]}, output_tokens: {uniform: "
    "[10, 20]}}\n";

const char* const kSessions =
    "  arrival: {kind: poisson, request_rate: 1}\n"
    "  synthetic:\n"
    "    num_prompts: 300\n"
    "    input_tokens: {uniform: [50, 60]}\n"
    "    output_tokens: {uniform: [10, 20]}\n"
    "    shared_prefix_tokens: 1000\n"
    "    turns: {uniform: [1, 4]}\n"
    "    think_time_s: 5\n";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST_CASE("single requests are sorted columns without identity") {
  const Workload workload = workload_of(kSingle);
  CHECK(workload.size() == 500);
  CHECK(std::ranges::is_sorted(workload.arrival_ns));
  CHECK(std::ranges::min(workload.prompt_tokens) >= 100);
  CHECK(std::ranges::max(workload.prompt_tokens) <= 200);
  CHECK(workload.predecessor.empty());
  CHECK(workload.session.empty());
  CHECK(workload.chain.empty());
  CHECK(workload.chain_begin.empty());
  CHECK_FALSE(workload.closed_loop);
  CHECK_FALSE(workload.output_continues_chain);
}

TEST_CASE("the same seed gives the same requests, another seed others") {
  const Workload one = workload_of(kSingle, 1);
  const Workload again = workload_of(kSingle, 1);
  const Workload other = workload_of(kSingle, 2);
  CHECK(one.arrival_ns == again.arrival_ns);
  CHECK(one.prompt_tokens == again.prompt_tokens);
  CHECK(one.arrival_ns != other.arrival_ns);
  CHECK(one.output_tokens != other.output_tokens);
}

TEST_CASE("changing one part of a workload leaves the random numbers of the others alone") {
  const Workload base = workload_of(kSingle);
  const Workload longer =
      workload_of(replaced(kSingle, "{uniform: [10, 20]}", "{lognormal: {mean: 50, p99: 300}}"));
  CHECK(longer.arrival_ns == base.arrival_ns);
  CHECK(longer.prompt_tokens == base.prompt_tokens);
  CHECK(longer.output_tokens != base.output_tokens);
  const Workload burst =
      workload_of(replaced(kSingle, "kind: poisson", "kind: gamma, burstiness: 0.5"));
  CHECK(burst.arrival_ns != base.arrival_ns);
  CHECK(burst.prompt_tokens == base.prompt_tokens);
  CHECK(burst.output_tokens == base.output_tokens);
  const Workload fewer = workload_of(replaced(kSingle, "num_prompts: 500", "num_prompts: 100"));
  CHECK(std::ranges::equal(fewer.arrival_ns, std::span(base.arrival_ns).first(100)));
  CHECK(std::ranges::equal(fewer.prompt_tokens, std::span(base.prompt_tokens).first(100)));
}

TEST_CASE("a shared prefix is one identity, and adds to the prompt") {
  const Workload workload = workload_of(
      replaced(kSingle, "num_prompts: 500", "shared_prefix_tokens: 64, num_prompts: 500"));
  const Workload plain = workload_of(kSingle);
  CHECK(workload.chain_ids == 1);
  CHECK(workload.chain.size() == 500);
  CHECK(workload.chain_begin.size() == 501);
  for (std::size_t i = 0; i < workload.size(); ++i) {
    CHECK(workload.prompt_tokens[i] == plain.prompt_tokens[i] + 64);
    CHECK(workload.chain[i].id == 0);
    CHECK(workload.chain[i].end == 64);
  }
}

TEST_CASE("a session's turns carry the conversation so far") {
  const Workload workload = workload_of(kSessions);
  CHECK(workload.size() == 300);
  CHECK(workload.output_continues_chain);
  std::size_t follow_ups = 0;
  for (std::uint32_t i = 0; i < workload.size(); ++i) {
    const std::uint32_t before = workload.predecessor[i];
    if (before == kNoRequest) {
      CHECK(workload.prompt_tokens[i] >= 1050);
      CHECK(workload.prompt_tokens[i] <= 1060);
      continue;
    }
    ++follow_ups;
    CHECK(before < i);
    CHECK(workload.session[before] == workload.session[i]);
    CHECK(workload.arrival_ns[i] == 5'000'000'000);
    const std::uint32_t added =
        workload.prompt_tokens[i] - workload.prompt_tokens[before] - workload.output_tokens[before];
    CHECK((added >= 50 && added <= 60));
  }
  CHECK(follow_ups > 100);
}

TEST_CASE("turns of different sessions interleave by the earliest time they can come") {
  const Workload workload = workload_of(kSessions);
  std::vector<std::int64_t> earliest(workload.size());
  std::size_t switches = 0;
  for (std::size_t i = 0; i < workload.size(); ++i) {
    const std::uint32_t before = workload.predecessor[i];
    earliest[i] = workload.arrival_ns[i] + (before == kNoRequest ? 0 : earliest[before]);
    if (i > 0 && workload.session[i] != workload.session[i - 1]) ++switches;
  }
  CHECK(std::ranges::is_sorted(earliest));
  CHECK(switches > 250);
}

TEST_CASE("each session with a second turn has an identity of its own") {
  const Workload workload = workload_of(kSessions);
  std::map<std::uint32_t, std::uint32_t> turns;
  for (const std::uint32_t session : workload.session) ++turns[session];
  std::map<std::uint32_t, std::uint32_t> id_of;
  for (std::size_t i = 0; i < workload.size(); ++i) {
    const auto chain = std::span(workload.chain)
                           .subspan(workload.chain_begin[i],
                                    workload.chain_begin[i + 1] - workload.chain_begin[i]);
    CHECK(chain[0].id == 0);
    CHECK(chain[0].end == 1000);
    const std::uint32_t session = workload.session[i];
    if (turns[session] == 1) {
      CHECK(chain.size() == 1);
      continue;
    }
    CHECK(chain.size() == 2);
    CHECK(chain[1].end == workload.prompt_tokens[i]);
    CHECK(chain[1].id < workload.chain_ids);
    CHECK(id_of.try_emplace(session, chain[1].id).first->second == chain[1].id);
  }
  CHECK(id_of.size() + 1 == workload.chain_ids);
}

TEST_CASE("the number of requests counts turns, and the last session is cut") {
  const Workload workload =
      workload_of(replaced(kSessions, "turns: {uniform: [1, 4]}", "turns: 7"));
  CHECK(workload.size() == 300);
  CHECK(std::ranges::count(workload.predecessor, kNoRequest) == 43);  // 42 of 7 turns, one of 6
}

TEST_CASE("a closed loop has slots instead of times") {
  const Workload workload = workload_of(replaced(kSingle, "kind: poisson, request_rate: 10",
                                                 "kind: closed_loop, max_concurrency: 8"));
  CHECK(workload.closed_loop);
  CHECK(workload.max_concurrency == 8);
  CHECK(workload.arrival_ns.back() == 0);
  const Workload capped =
      workload_of(replaced(kSingle, "request_rate: 10", "request_rate: 10, max_concurrency: 3"));
  CHECK_FALSE(capped.closed_loop);
  CHECK(capped.max_concurrency == 3);
}

TEST_CASE("a warm-up beyond the last arrival is a mistake") {
  CHECK_THROWS_AS(static_cast<void>(workload_of(std::string("  warmup_s: 1000\n") + kSingle)),
                  InputError);
  CHECK(workload_of(std::string("  warmup_s: 5\n") + kSingle).size() == 500);
}

TEST_CASE("a run needs requests between its warm-up and its end") {
  Workload workload;  // at 0, 0.25, 0.5 and 5 s
  workload.arrival_ns = {0, 250'000'000, 500'000'000, 5'000'000'000};
  workload.prompt_tokens = {1, 1, 1, 1};
  struct Case {
    const char* why;
    double warmup_s;
    std::optional<double> duration_s;
    const char* mistake;
  };
  const Case cases[] = {
      {"neither", 0, {}, ""},
      {"a warm-up before the last", 5, {}, ""},
      {"a warm-up after the last", 6, {}, "6 s of warm-up, and the last request arrives at 5 s"},
      {"the last is cut off", 1, 2, "1 s of warm-up, and the last request before duration_s "},
      {"one is left", 0.5, 2, ""},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    WorkloadSpec spec;
    spec.warmup_s = c.warmup_s;
    spec.duration_s = c.duration_s;
    std::string found;
    try {
      check_window(spec, workload);
    } catch (const InputError& error) {
      found = error.diagnostics().front().problem;
    }
    CHECK(found.substr(0, std::string(c.mistake).size()) == c.mistake);
    CHECK(found.empty() == std::string(c.mistake).empty());
  }
  for (std::int64_t& arrival : workload.arrival_ns) arrival += 5'000'000'000;
  WorkloadSpec late;
  late.duration_s = 2;
  CHECK_THROWS_AS(check_window(late, workload), InputError);
  workload.closed_loop = true;
  CHECK_NOTHROW(check_window(late, workload));
}

TEST_CASE("turns that come later keep a warm-up beyond the first ones") {
  Workload workload;  // a session of two turns, and its think time
  workload.arrival_ns = {0, 8'000'000'000};
  workload.prompt_tokens = {1, 1};
  workload.predecessor = {kNoRequest, 0};
  WorkloadSpec spec;
  spec.warmup_s = 7;
  CHECK_NOTHROW(check_window(spec, workload));
  spec.warmup_s = 9;
  CHECK_THROWS_AS(check_window(spec, workload), InputError);
}

TEST_CASE("requests that arrive after more than 31 years are refused, not wrapped around") {
  for (const char* rate : {"poisson, request_rate: 1e-9", "constant, request_rate: 1e-9",
                           "gamma, burstiness: 2, request_rate: 1e-9"}) {
    CAPTURE(std::string(rate));
    CHECK_THROWS_AS(
        static_cast<void>(workload_of(replaced(kSingle, "poisson, request_rate: 10", rate))),
        InputError);
  }
}

TEST_CASE("the description says what was drawn") {
  CHECK(workload_of(kSingle).description ==
        "500 requests, poisson at 10/s; prompts uniform 100 to 200; outputs uniform 10 to 20");
}

}  // namespace
}  // namespace moesim
