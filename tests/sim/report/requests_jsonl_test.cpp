#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "report_support.h"

using namespace moesim;
using nlohmann::json;

namespace {

std::vector<json> lines_of(const HandMadeRun& run) {
  std::ostringstream out;
  write_requests(run.view(), out);
  std::istringstream in(out.str());
  std::vector<json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

}  // namespace

TEST_CASE("a completed request has every field that applies, to the nanosecond") {
  HandMadeRun run;
  run.scenario.slo.ttft_ms = 100;
  const std::size_t row = run.complete({3'600'000.000001, 3'600'001, 3'600'050, 3'600'150}, 64, 3);
  run.requests.cached_tokens[row] = 16;
  run.requests.preemptions[row] = 2;
  CHECK(lines_of(run)[0] == json::parse(R"({
      "request_id": "0", "arrival_ms": 3600000.000001, "first_scheduled_ms": 3600001,
      "first_token_ms": 3600050, "finish_ms": 3600150, "input_tokens": 64, "cached_tokens": 16,
      "output_tokens": 3, "ttft_ms": 49.999999, "tpot_ms": 50, "e2el_ms": 149.999999,
      "queue_ms": 0.999999, "preemptions": 2, "instance": "0", "dp_rank": 0, "slo_met": true,
      "terminal_status": "completed"})"));
}

TEST_CASE("what did not happen to a request is absent") {
  HandMadeRun run;
  run.complete({0, 0, 10, 10}, 5, 1);
  run.leave(1, RequestStatus::kDropped);
  const std::size_t unsent = run.leave(2, RequestStatus::kIncomplete);
  run.requests.arrival[unsent] = kNever;
  const std::vector<json> lines = lines_of(run);
  REQUIRE(lines.size() == 3);
  CHECK_FALSE(lines[0].contains("tpot_ms"));
  CHECK_FALSE(lines[0].contains("slo_met"));
  CHECK_FALSE(lines[0].contains("session_id"));
  CHECK(lines[1]["terminal_status"] == "dropped");
  CHECK_FALSE(lines[1].contains("finish_ms"));
  CHECK(lines[2]["terminal_status"] == "incomplete");
  CHECK_FALSE(lines[2].contains("arrival_ms"));
}

TEST_CASE("a request's domain is told where its trace told it") {
  HandMadeRun run;
  run.complete({0, 0, 10, 20}, 5, 2);
  run.complete({0, 0, 10, 20}, 5, 2);
  run.workload.domain = {1, kNoDomain};
  run.workload.domain_names = {"code", "math"};
  const std::vector<json> lines = lines_of(run);
  CHECK(lines[0]["domain"] == "math");
  CHECK_FALSE(lines[1].contains("domain"));
}

TEST_CASE("names and sessions of a trace are kept, whatever they contain") {
  HandMadeRun run;
  run.complete({0, 0, 10, 20}, 5, 2);
  run.workload.names = {"a \"quoted\"\nname\\"};
  run.workload.session = {7};  // of a synthetic workload: numbers
  const json line = lines_of(run)[0];
  CHECK(line["request_id"] == "a \"quoted\"\nname\\");
  CHECK(line["session_id"] == "7");
}

TEST_CASE("what the trace does not say of a request is absent, the rest is as it stands there") {
  HandMadeRun run;
  run.complete({0, 0, 10, 20}, 5, 2);
  run.complete({0, 0, 10, 20}, 5, 2);
  run.workload.names = {"r", ""};
  run.workload.session = {0, kNoSession};
  run.workload.session_names = {"s1"};
  run.workload.slo_class = {kNoSloClass, 0};
  run.workload.slo_class_names = {"chat"};
  const std::vector<json> lines = lines_of(run);
  CHECK(lines[0]["request_id"] == "r");
  CHECK(lines[0]["session_id"] == "s1");
  CHECK_FALSE(lines[0].contains("slo_class"));
  CHECK_FALSE(lines[1].contains("request_id"));
  CHECK_FALSE(lines[1].contains("session_id"));
  CHECK(lines[1]["slo_class"] == "chat");
}
