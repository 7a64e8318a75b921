#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "scenarios/routing_trace.h"
#include "tests/scenarios/routing_support.h"

namespace moesim {
namespace {

const std::string kHeader =
    R"({"format":"moe-routing-trace","version":1,"mode":"per_token","model":"tiny","n_layers":2,"n_experts":4,"top_k":2,"ids":"logical"})"
    "\n";

Diagnostic mistake_in(const std::string& text) {
  return first_mistake([&] { static_cast<void>(parse_routing_trace(text, "x")); });
}

/// A text that is refused: where, and why.
struct Refused {
  std::string text;
  int line, column;
  const char* key;
  const char* problem;
};
void check(const std::vector<Refused>& cases) {
  for (const Refused& c : cases) {
    CAPTURE(c.text);
    const Diagnostic mistake = mistake_in(c.text);
    CHECK_MESSAGE(mistake.problem.find(c.problem) != std::string::npos, mistake.problem);
    CHECK(mistake.key == c.key);
    CHECK(mistake.where.line == c.line);
    CHECK(mistake.where.column == c.column);
  }
}

/// A row of sequence 0, and a sequence line before it.
std::string row(const std::string& ids, const std::string& more = "") {
  return "{\"seq\":0,\"e\":" + ids + more + "}\n";
}
const std::string kOne = kHeader + "{\"seq\":0,\"rows\":1}\n";
const std::string kTwo = kHeader + "{\"seq\":0,\"rows\":2}\n";
const std::string kGood = "[[0,1],[2,1]]";

TEST_CASE("JSONL needs no more than the keys the format requires") {
  const auto table = std::get<RoutingTable>(parse_routing_trace(
      kHeader + "{\"seq\":0,\"rows\":2}\n"
                "{\"seq\":0,\"pos\":7,\"ph\":\"p\",\"e\":[[0,1],[2,3]],\"extra\":1}\r\n\n"
                "{\"seq\":0,\"pos\":8,\"ph\":\"d\",\"e\":[[1,0],[3,1]]}\n",
      "x"));
  CHECK(table.rows() == 2);
  CHECK(table.expert(0, 1, 0) == 2);
  CHECK(table.expert(1, 0, 1) == 0);
  CHECK_FALSE(table.ranked);
  CHECK(table.domains.empty());
  CHECK(table.sequences[0].first_position == 7);
  CHECK(table.sequences[0].prompt_rows == 1);
  CHECK(table.sequences[0].flags == 4);
}

TEST_CASE("JSONL traces that are refused") {
  // {"seq":0,"e": are 13 characters, kGood 13 more.
  check({
      {"{\"format\":\"x\"}\n", 1, 11, "format", "is not moe-routing-trace"},
      {"\xef\xbb\xbf{\"format\":\"x\"}\n", 1, 14, "format", "is not moe-routing-trace"},
      {"{\"format\":\"moe-routing-trace\",\"version\":2}\n", 1, 41, "version", "is not 1"},
      {R"({"format":"moe-routing-trace","version":1,"mode":"per_token","n_layers":2,"n_experts":4,"top_k":2,"layer_ids":3})",
       1, 111, "", "layer_ids is not a list"},
      {kHeader, 1, 1, "", "no rows"},
      {kHeader + "\n \n", 3, 1, "", "no rows"},
      {kHeader + "[1]\n", 2, 1, "", "is not a JSON object"},
      {kHeader + "{\"seq\":0\n", 2, 9, "", "is not a JSON object"},
      {kHeader + "{\"seq\":0,rows:1}\n", 2, 10, "", "is not a JSON object"},
      {kHeader + "{\"rows\":1}\n", 2, 1, "seq", "is missing"},
      {kOne + row(kGood) + "{\"seq\":0,\"rows\":1}\n", 4, 8, "seq", "not above the one before"},
      {kHeader + "{\"seq\":0}\n", 2, 1, "rows", "is missing"},
      {kHeader + row(kGood), 2, 8, "seq", "a row before its sequence line"},
      {kOne + "{\"seq\":1,\"e\":[[0,1],[2,3]]}\n", 3, 8, "seq", "is not 0"},
      {kOne + row("[[0,1]]"), 3, 14, "e", "is not a list of 2 layers"},
      {kOne + row("[[0,1],[2]]"), 3, 21, "e", "layer 1 is not a list of 2 ids"},
      {kOne + row("[[0,1],[2,4]]"), 3, 24, "e", "layer 1: '4' is no expert"},
      {kOne + row("[[0,1],[2,-1]]"), 3, 24, "e", "layer 1: '-1' is no expert"},
      {kOne + row("[[0,0],[2,1]]"), 3, 18, "e", "layer 0: expert 0 twice"},
      {kOne + row(kGood, ",\"w\":[[1,1],[1]]"), 3, 39, "w", "is not a weight"},
      {kOne + row(kGood, ",\"w\":[[1,1],[1,-1]]"), 3, 42, "w", "is not a weight"},
      {kOne + row(kGood) + row(kGood), 2, 17, "rows", "sequence 0 has 2 rows, not 1"},
      {kHeader + "{\"seq\":0,\"rows\":1,\"prompt_rows\":2}\n" + row(kGood), 2, 33, "prompt_rows",
       "more than the sequence has rows"},
      {kHeader + "{\"seq\":0,\"rows\":2,\"prompt_rows\":2}\n" + row(kGood, R"(,"ph":"p")") +
           row(kGood, R"(,"ph":"d")"),
       4, 33, "ph", "row 1 of a sequence whose prompt_rows is 2"},
      {kHeader + "{\"seq\":0,\"rows\":1,\"prompt_rows\":0}\n" + row(kGood, R"(,"ph":"p")"), 3, 33,
       "ph", "row 0 of a sequence whose prompt_rows is 0"},
      {kOne + row(kGood, R"(,"ph":"x")"), 3, 33, "ph", "is neither p nor d"},
      {kOne + row(kGood, R"(,"ph":1)"), 3, 33, "ph", "is neither p nor d"},
      {kTwo + row(kGood) + row(kGood, R"(,"ph":"p")"), 4, 33, "ph", "a prompt row after others"},
      {kTwo + row(kGood, R"(,"pos":4)") + row(kGood, R"(,"pos":4)"), 4, 34, "pos", "4 after 4"},
      {kTwo + row(kGood, R"(,"pos":4)") + row(kGood, R"(,"pos":2)"), 4, 34, "pos", "2 after 4"},
      {kTwo + row(kGood) + row(kGood, R"(,"pos":0)"), 4, 34, "pos", "0 after 0"},
  });
}

TEST_CASE("JSONL weights that cannot be a router's are refused") {
  check({
      {kOne + row(kGood, ",\"w\":[[0,0],[1,1]]"), 3, 33, "w", "layer 0: no weight is above 0"},
      {kOne + row(kGood, ",\"w\":[[1,1e999],[1,1]]"), 3, 36, "", "'1e999' is beyond the largest"},
      {kOne + row(kGood, ",\"w\":[[1,1e30],[1,1]]"), 3, 36, "w", "is not a weight"},
  });
  // "ranked":true promises falling weights; equal ones are fine.
  std::string ranked = kOne;
  ranked.replace(ranked.find("\"ids\""), 5, "\"ranked\":true,\"ids\"");
  check({{ranked + row(kGood, ",\"w\":[[3,3],[1,2]]"), 3, 42, "w", "layer 1: 2 after 1"}});
  const auto table =
      std::get<RoutingTable>(parse_routing_trace(ranked + row(kGood, ",\"w\":[[3,3],[2,0]]"), "x"));
  CHECK(table.weights == std::vector<float>{3, 3, 2, 0});
  CHECK_NOTHROW(
      static_cast<void>(parse_routing_trace(kOne + row(kGood, ",\"w\":[[1,2],[1,2]]"), "x")));
}

TEST_CASE("a number beyond any double is a mistake at its place, wherever it stands") {
  std::string header = kHeader;
  header.replace(header.find("\"tiny\""), 6, "1e999");
  const int at = static_cast<int>(header.find("1e999")) + 1;
  check({
      {header, 1, at, "", "'1e999' is beyond the largest"},
      {kHeader + "{\"seq\":0,\"rows\":1e999}\n", 2, 17, "", "'1e999' is beyond the largest"},
      {kOne + row(kGood, ",\"pos\":-1e999"), 3, 34, "", "'-1e999' is beyond the largest"},
      {kOne + row("[[0,1],[2,1e999]]"), 3, 24, "", "'1e999' is beyond the largest"},
      {kOne + row(kGood, ",\"more\":[{\"x\":1e999}]"), 3, 41, "", "'1e999' is beyond"},
  });
  // One mistake, one message: the row that could not be read is not missed, too.
  try {
    static_cast<void>(parse_routing_trace(kOne + row("[[0,1],[2,1e999]]"), "x"));
  } catch (const InputError& error) {
    CHECK(error.diagnostics().size() == 1);
  }
}

TEST_CASE("a layer is named once") {
  std::string header = kHeader;
  header.replace(header.find("\"ids\""), 5, "\"layer_ids\":[3,3],\"ids\"");
  const int at = static_cast<int>(header.find("[3,3]")) + 1;
  check({{header, 1, at, "", "layer_ids names layer 3 twice"}});
}

TEST_CASE("JSONL keeps the order of positions, and says where some are left out") {
  const auto sequence = [](const std::string& rows) {
    return std::get<RoutingTable>(parse_routing_trace(kTwo + rows, "x"));
  };
  const RoutingTable gap = sequence(row(kGood, R"(,"pos":3)") + row(kGood, R"(,"pos":9)"));
  CHECK(gap.sequences_with_gaps == 1);
  CHECK(gap.sequences[0].first_position == 3);
  CHECK(gap.sequences[0].flags == 0);
  const RoutingTable next = sequence(row(kGood, R"(,"pos":3)") + row(kGood));
  CHECK(next.sequences_with_gaps == 0);
  CHECK(next.sequences[0].flags == 4);
}

TEST_CASE("headers tell all their mistakes at once") {
  struct Case {
    const char* text;
    std::vector<const char*> keys;
  };
  const Case cases[] = {
      {R"({"format":"moe-routing-trace","version":2,"mode":"per_token","n_layers":0,"n_experts":4,"top_k":9})",
       {"version", "n_layers", "top_k"}},
      {R"({"format":"moe-routing-trace","version":1,"mode":"per_token","n_layers":2,"n_experts":0,"top_k":9,"layer_ids":[1],"ids":"x"})",
       {"n_experts", "layer_ids", "ids"}},
      {R"({"format":"moe-routing-trace","version":1,"mode":"per_token","n_layers":2,"n_experts":6,"top_k":2,"n_groups":4,"topk_groups":5})",
       {"n_groups", "topk_groups"}},
      {"# format=moe-routing-trace version=2 mode=step_load n_layers=0 n_experts=2 top_k=3",
       {"version", "n_layers", "top_k"}},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.text));
    std::vector<std::string> keys;
    try {
      static_cast<void>(parse_routing_trace(c.text, "x"));
    } catch (const InputError& error) {
      for (const Diagnostic& one : error.diagnostics()) keys.push_back(one.key);
    }
    CHECK(keys == std::vector<std::string>(c.keys.begin(), c.keys.end()));
  }
}

const std::string kSteps =
    "# n_layers=1 n_experts=3 top_k=2 version=1 mode=step_load format=moe-routing-trace\n"
    "step,t_us,prefill_tokens,decode_tokens,layer,expert,count\n";

TEST_CASE("CSV step loads keep numbers and times, and zero where nothing is said") {
  const auto loads = std::get<StepLoads>(parse_routing_trace(
      kSteps + "# a remark\n4,10,1,1,0,0,2\n4,10,1,1,0,2,2\n6,20,0,1,0,1,1\n6,20,0,1,0,2,1\n",
      "x"));
  CHECK(loads.counts == std::vector<std::uint32_t>{2, 0, 2, 0, 1, 1});
  CHECK(loads.steps[1].number == 6);
  CHECK(loads.steps[1].time_us == 20);
  CHECK(loads.steps[0].prefill_tokens == 1);
}

TEST_CASE("CSV step loads that are refused") {
  const std::string first = "# format=moe-routing-trace version=1 mode=step_load n_layers=1 ";
  check({
      {"# format=x version=1 mode=step_load n_layers=1 n_experts=2 top_k=1\n", 1, 3, "format",
       "is 'x'"},
      {"# format=moe-routing-trace version=1 mode=step_load n_experts=2 top_k=1\n", 1, 1,
       "n_layers", "is missing"},
      {first + "n_experts=2 top_k=3\n", 1, 76, "top_k", "top-3 of 2 experts"},
      {first + "n_experts=2 top_k\n", 1, 76, "", "'top_k' is not key=value"},
      {first + "n_experts=3 top_k=2\nstep,t_us,prefill_tokens,decode_tokens,layer,count,expert\n",
       2, 46, "", "are not the columns"},
      {kSteps, 2, 1, "", "no steps"},
      {kSteps + "0,0,0,1,0,0\n", 3, 12, "", "6 columns, not 7"},
      {kSteps + "0,0,0,1,0,0,2,3\n", 3, 15, "", "8 columns, not 7"},
      {kSteps + "0,0,0,1,1,0,2\n", 3, 9, "layer", "'1' is out of range"},
      {kSteps + "\"0\",\"0\",0,1,\"1\",0,2\n", 3, 13, "layer", "'1' is out of range"},
      {kSteps + "0,0,0,1, 1,0,2\n", 3, 10, "layer", "'1' is out of range"},
      {kSteps + "0,0,0,1,0,3,2\n", 3, 11, "expert", "'3' is out of range"},
      {kSteps + "0,0,0,1,0,0,-2\n", 3, 13, "count", "'-2' is out of range"},
      {kSteps + "0,0,0,1,0,0,1\n", 3, 13, "count", "counts add up to 1, not to 2"},
      {kSteps + "0,0,0,1,0,0,1\n1,0,0,1,0,0,1\n1,0,0,1,0,1,1\n", 3, 13, "count",
       "counts add up to 1, not to 2"},
      {kSteps + "0,0,0,1,0,0,1\n0,0,0,1,0,0,1\n", 4, 11, "expert", "expert 0 twice in step 0"},
      {kSteps + "1,0,0,1,0,0,1\n0,0,0,1,0,0,1\n", 4, 1, "step", "0 after 1"},
      {kSteps + "0,0,1,1,0,0,4\n", 3, 13, "count", "expert 0 has 4 of 2 tokens of step 0"},
      {kSteps + "1,0,0,1,0,0,1\n1,0,0,2,0,1,1\n", 4, 1, "step", "other times or tokens"},
  });
}

TEST_CASE("anything else is no routing trace") {
  CHECK(mistake_in("hello\n").problem == "is no routing trace");
  CHECK(mistake_in("").problem == "is no routing trace");
  CHECK(is_routing_trace(kHeader));
  CHECK(is_routing_trace(kSteps));
  CHECK_FALSE(is_routing_trace("request_id,arrival_s\n"));
  CHECK_FALSE(is_routing_trace("{\"timestamp\": 0}\n"));
}

}  // namespace
}  // namespace moesim
