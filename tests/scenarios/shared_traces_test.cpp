// The published traces, if they are here: our reader must see the numbers of their own statistics.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>

#include "scenarios/request_trace.h"

namespace moesim {
namespace {

struct Case {
  const char* name;
  std::size_t requests;
  double prompt_mean, prompt_p50, prompt_p99, output_mean, output_p50,
      output_p99;  // data/traces/README.md
  std::size_t chain_ids;
};

/// Nearest-rank quantile, as the statistics use.
double quantile(std::vector<std::uint32_t> values, double p) {
  std::ranges::sort(values);
  const auto rank = static_cast<std::size_t>(std::ceil(p * static_cast<double>(values.size())));
  return values[rank - 1];
}

double mean(const std::vector<std::uint32_t>& values) {
  double sum = 0;
  for (const std::uint32_t value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

TEST_CASE("published traces read as their statistics say") {
  const std::filesystem::path folder =
      std::filesystem::path(MOESIM_SHARED_DIR) / "data/traces/requests";
  if (!std::filesystem::is_directory(folder)) {
    MESSAGE("skipped: no traces at " << folder.string());
    return;
  }
  const Case cases[] = {
      {"azure_code_2023", 8819, 2047.8, 1469, 7436, 27.9, 13, 252, 0},
      {"azure_conv_2023", 19366, 1154.7, 1020, 4142, 211.1, 129, 601, 0},
      {"mooncake_conversation", 12031, 12035.1, 6909, 85401, 342.6, 350, 1120, 182790},
      {"servegen_deepseek_r1_drawn", 46641, 1067.9, 120, 19384, 2951.5, 1966, 14732, 0},
      {"servegen_m_large_drawn", 76438, 655.8, 475, 3449, 211.5, 87, 740, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.name));
    TraceSpec spec;
    spec.path = folder / (std::string(c.name) + ".csv.gz");
    const Workload workload = read_request_trace(spec);
    CHECK(workload.size() == c.requests);
    CHECK(mean(workload.prompt_tokens) == doctest::Approx(c.prompt_mean).epsilon(1e-4));
    CHECK(mean(workload.output_tokens) == doctest::Approx(c.output_mean).epsilon(2e-3));
    CHECK(quantile(workload.prompt_tokens, 0.5) == c.prompt_p50);
    CHECK(quantile(workload.prompt_tokens, 0.99) == c.prompt_p99);
    CHECK(quantile(workload.output_tokens, 0.5) == c.output_p50);
    CHECK(quantile(workload.output_tokens, 0.99) == c.output_p99);
    CHECK(workload.chain_ids == c.chain_ids);
  }
}

TEST_CASE("the plain first rows of a published trace read on their own") {
  TraceSpec spec;
  spec.path = std::filesystem::path(MOESIM_SHARED_DIR) /
              "data/traces/requests/mooncake_conversation.head.csv";
  if (!std::filesystem::is_regular_file(spec.path)) {
    MESSAGE("skipped: no trace at " << spec.path.string());
    return;
  }
  const Workload workload = read_request_trace(spec);
  CHECK(workload.size() == 200);
  CHECK(workload.chain_begin.empty());
}

}  // namespace
}  // namespace moesim
