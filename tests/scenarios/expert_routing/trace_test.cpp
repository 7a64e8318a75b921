#include <doctest/doctest.h>
#include <string>

#include "scenarios/routing_trace.h"
#include "tests/scenarios/expert_routing/expert_routing_support.h"
#include "tests/scenarios/scenarios_support.h"

using namespace moesim;

namespace {

const RoutingShape kShape{2, 5, 2, 0, 0};  // of small_table

}  // namespace

TEST_CASE("trace: the rows of the file, whatever is asked for") {
  const TempFolder folder;
  const std::string file = folder.write("t.mrt", write_mrt(small_table())).string();
  const auto routing = kind_of("{kind: trace, path: " + file + "}");
  routing->check(kShape);
  CHECK(same_rows(routing->table(kShape, {9, 9, 9}, 1, 0), small_table()));
  CHECK(same_rows(routing->table(kShape, {1, 0, 1}, 2, 7), small_table()));
  CHECK_FALSE(routing->independent_tokens());
}

TEST_CASE("trace: how rows are replayed") {
  const auto sequence = kind_of("{kind: trace, path: x}")->replay(9);
  CHECK(sequence.mode == RoutingReplay::Mode::kSequence);
  CHECK(sequence.replace);
  CHECK(sequence.seed == 9);
  CHECK(sequence.domain_mix.empty());
  const auto row =
      kind_of("{kind: trace, path: x, mode: row, replace: false, domain_mix: {math: 2, code: 1}}")
          ->replay(9);
  CHECK(row.mode == RoutingReplay::Mode::kRow);
  CHECK_FALSE(row.replace);
  CHECK(row.domain_mix == std::vector<DomainMix>{{0, {{"code", 1}, {"math", 2}}}});
  CHECK(kind_of("{kind: trace, path: x, mode: independent}")->replay(9).mode ==
        RoutingReplay::Mode::kIndependent);
}

TEST_CASE("trace: a trace of another model, of copies or of loads is refused") {
  const TempFolder folder;
  const auto write = [&](const std::string& content) {
    return "{kind: trace, path: " + folder.write("t", content).string() + "}";
  };
  const std::string good = write(write_mrt(small_table()));
  CHECK(mistake_of(good, kShape).empty());
  CHECK(mistake_of(good, {3, 5, 2, 0, 0}) ==
        "path: its tokens choose 2 of 5 experts in 2 layers, the model's 2 of 5 in 3; give a trace "
        "of this model, or write adapt: layers");
  CHECK_FALSE(mistake_of(good, {2, 5, 1, 0, 0}).empty());
  RoutingTable physical = small_table();
  physical.physical = true;
  CHECK(mistake_of(write(write_mrt(physical)), kShape).starts_with("path: its ids are of stored"));
  CHECK(mistake_of(write("# format=moe-routing-trace version=1 mode=step_load model=m n_layers=1 "
                         "n_experts=3 top_k=2 ids=logical\n"
                         "step,t_us,prefill_tokens,decode_tokens,layer,expert,count\n"
                         "0,0,0,1,0,0,1\n0,0,0,1,0,1,1\n"),
                   kShape)
            .find("step loads") != std::string::npos);
}

TEST_CASE("trace: a mix of domains names those of the trace, or their groups") {
  const TempFolder folder;
  const std::string file = folder.write("t.mrt", write_mrt(small_table())).string();
  const auto mix = [&](const std::string& text) {
    return mistake_of("{kind: trace, path: " + file + ", domain_mix: " + text + "}", kShape);
  };
  CHECK(mix("{math: 0.5, code/python: 0.5}").empty());
  CHECK(mix("{code: 1}").empty());
  CHECK(mix("{maths: 1}") ==
        "domain_mix.maths: the trace has no such domain; did you mean 'math'?");
  CHECK(mix("{math: 0}").starts_with("domain_mix: leaves no domain"));
  CHECK(mix("{math: -1}").starts_with("domain_mix.math: -1 is outside"));
  CHECK(mix("[{from_s: 0, shares: {math: 1}}, {from_s: 60, shares: {code: 1}}]").empty());
  CHECK(mix("[{from_s: 0, shares: {math: 1}}, {from_s: 60, shares: {cod: 1}}]")
            .starts_with("domain_mix.cod: the trace has no such domain"));
  CHECK(
      mix("[{from_s: 5, shares: {math: 1}}]").starts_with("domain_mix.0.from_s: nothing is said"));
  CHECK(mix("[{from_s: 0, shares: {math: 1}}, {from_s: 0, shares: {code: 1}}]") ==
        "domain_mix.1.from_s: 0 s is not after 0 s; write mixes in order of time");
  CHECK(mix("[{from_s: 0}]").starts_with("domain_mix.0.shares: required key is missing"));
  CHECK(
      mix("[{from_s: 0, shares: {math: 0}}]").starts_with("domain_mix.0.shares: leaves no domain"));
  CHECK(mix("[{from_s: 0, shares: {math: 1}, to_s: 4}]").starts_with("domain_mix.0.to_s: unknown"));
}

TEST_CASE("trace: a path starts at the scenario's folder and stays right when made again") {
  const TempFolder folder;
  RoutingTable table({32, 8, 2, 0, 0}, 4);  // Mixtral's shape
  for (std::uint64_t row = 0; row < 4; ++row) {
    for (int layer = 0; layer < 32; ++layer) table.set(row, layer, 1, 1);
  }
  table.sequences = {{0, 4, 0, 0, 0, 0, 0}};
  folder.write("it's.mrt", write_mrt(table));
  const std::string text = with_line(
      19, "routing: {kind: markov, persistence: 0.5, base: {kind: trace, path: it's.mrt}}");
  const Scenario scenario = load_scenario_text(text, "test.yaml", folder.path(), {});
  const Document params = Document::parse(scenario.routing.policy.params, "test");
  Diagnostics diagnostics;
  Reader in(params, diagnostics);
  const auto made = Registry<ExpertRouting>::find("markov")->make(in);
  diagnostics.throw_if_any();
  CHECK(made->table({32, 8, 2, 0, 0}, {1, 0, 1}, 1, 0).rows() == 4);
}

TEST_CASE("trace: a missing file is a mistake at its key, once") {
  const auto found = mistakes_of(with_line(19, "routing: {kind: trace, path: no.mrt}"));
  CHECK(compare(found, {{19, "routing.path", "there is no file", "start at its folder"}}) == "");
}
