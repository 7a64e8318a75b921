// run.sh runs to its end and prints its rows; their figures mean nothing here.
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

namespace fs = std::filesystem;

namespace {

struct Outcome {
  int status = 0;
  std::vector<std::string> lines;
};

Outcome run_quickly() {
  const fs::path out =
      fs::temp_directory_path() / ("moesim_bench_" + std::to_string(getpid()) + ".txt");
  const std::string command = std::string(MOESIM_ROOT) + "/tests/bench/run.sh " +
                              fs::path(MOESIM_PROGRAM).parent_path().string() + " --quick > " +
                              out.string() + " 2>&1";
  Outcome result;
  result.status = std::system(command.c_str());
  std::ifstream in(out);
  for (std::string line; std::getline(in, line);) result.lines.push_back(line);
  fs::remove(out);
  return result;
}

/// What stands behind the name of a row, which fills 52 columns; "" without such a row.
std::string value_of(const Outcome& outcome, const std::string& name) {
  for (const std::string& line : outcome.lines) {
    if (line.starts_with(name + " ")) return line.substr(name.size());
  }
  return "";
}

}  // namespace

TEST_CASE("the script of whole runs ends well and prints every row") {
  const Outcome outcome = run_quickly();
  std::string text;
  for (const std::string& line : outcome.lines) text += line + "\n";
  INFO(text);
  CHECK(outcome.status == 0);
  for (const char* name :
       {"aggregated, 10 k requests, cap 256: steps / CPU s",
        "the same, 100 k requests: steps / CPU s",
        "exact, 58 x 256, top-8, 128 tokens a step: steps / CPU s",
        "EP32 x 128, exact: steps / CPU s", "EP32 x 128, rank_exact: steps / CPU s",
        "EP32 x 128, sampled: steps / CPU s", "start to first event, and one step: CPU s"}) {
    CAPTURE(std::string(name));
    CHECK(std::atof(value_of(outcome, name).c_str()) > 0);
  }
  // Runs this small take no longer exactly than sampled.
  CHECK(!value_of(outcome, "14_hot_expert: exact over sampled, a step").empty());
  CHECK(!value_of(outcome, "15_eplb: exact over sampled, a step").empty());
  // These need recorded requests, a program that measures memory, Google Benchmark.
  const bool traces = value_of(outcome, "recorded hour, prefix-cached hour").empty();
  for (const char* name : {"recorded hour, 4 x 2 A100, Mixtral: CPU s",
                           "prefix-cached hour, 4 x 2 H100, gpt-oss-120b: CPU s"})
    CHECK(value_of(outcome, name).empty() != traces);
  if (fs::exists("/usr/bin/time")) {
    CHECK(std::atof(value_of(outcome, "memory at 100 k requests: MiB").c_str()) > 0);
    CHECK(std::atof(value_of(outcome, "memory at 200 k requests: MiB").c_str()) > 0);
  }
  if (value_of(outcome, "hot paths").empty())
    CHECK(!value_of(outcome, "BM_StepTime_Aggregated").empty());
}
