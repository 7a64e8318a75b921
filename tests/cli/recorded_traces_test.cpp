// Runs of whole recorded traces, as a user types them. The traces lie beside the project, where
// there are any.
#include <cstdio>
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// The report of `scenario` with the requests of `trace`; nothing where there is no such trace.
std::optional<json> report_of(const std::string& scenario, const std::string& trace) {
  const fs::path path = fs::path(MOESIM_SHARED_DIR) / "data" / "traces" / "requests" / trace;
  if (!fs::exists(path)) {
    MESSAGE("skipped: there is no shared/data/traces/requests/" << trace << " beside the project");
    return std::nullopt;
  }
  const fs::path out = fs::temp_directory_path() / ("moesim_recorded_" + trace + ".json");
  const std::string command = std::string(MOESIM_PROGRAM) + " run " + MOESIM_ROOT + "/scenarios/" +
                              scenario + " --quiet --format json --set uncertainty.replicas=1" +
                              " --set workload.trace=" + path.string() + " > " + out.string();
  REQUIRE(std::system(command.c_str()) == 0);
  std::ifstream in(out);
  json report = json::parse(in);
  fs::remove(out);
  return report;
}

}  // namespace

TEST_CASE(
    "an hour of the Azure conversation trace on the quickstart is accounted for and hardly fits") {
  const std::optional<json> report = report_of("01_quickstart.yaml", "azure_conv_2023.csv.gz");
  if (!report) return;
  const json& summary = (*report)["summary"];
  // The trace's README counts 19,366 requests.
  CHECK(summary["completed"].get<int>() + summary["failed"].get<int>() == 19'366);
  CHECK(summary["failed"] == 0);
  // As many are completed as come, 5.5 a second, but the busiest minutes bring more: up to a minute
  // and a half in the queue.
  CHECK((*report)["saturation"]["verdict"] == "backlogged");
  CHECK(summary["p99_ttft_ms"].get<double>() > 60'000);
  CHECK(summary["p99_ttft_ms"].get<double>() < 120'000);
}

TEST_CASE("a run of Mooncake's conversations finds no more prefixes than the trace has") {
  const std::optional<json> report =
      report_of("07_prefix_sharing_hour.yaml", "mooncake_conversation.csv.gz");
  if (!report) return;
  const json& summary = (*report)["summary"];
  CHECK(summary["completed"].get<int>() + summary["failed"].get<int>() == 12'031);
  // 37.4 % of the prompt tokens are in blocks seen before: what one cache that forgets nothing
  // would find. Four caches find less, but some.
  const double hits = (*report)["utilization"]["prefix_cache_hit_ratio"];
  CHECK(hits <= 0.374);
  CHECK(hits > 0.1);
}
