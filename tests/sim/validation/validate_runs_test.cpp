#include "sim/validation/validate_runs.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <fmt/format.h>
#include <string>

#include "sim/base/diagnostic.h"
#include "sim/base/files.h"
#include "sim/validation/recorded_run.h"

using namespace moesim;

namespace {

namespace fs = std::filesystem;

/// A made-up run of two requests, in a folder that goes away.
class RunFolder {
 public:
  explicit RunFolder(const std::string& name, const std::string& arguments = "",
                     const std::string& more = "") {
    root_ = fs::temp_directory_path() / fmt::format("moesim_runs_test_{}", counter_++);
    path_ = root_ / name;
    write("engine.json",
          fmt::format(R"({{"model": "meta-llama/Llama-3.1-8B", "vllm_version": "0.19.0",)"
                      R"( "engine_kwargs": {{"max_num_seqs": 128, "max_model_len": null{}}}{}}})",
                      arguments, more));
    write("requests.csv",
          "request_id,arrival_s,prompt_tokens,output_tokens\na,0,100,10\nb,0.5,200,20\n");
    write("measured.csv", "request_id,ttft_ms,tpot_ms,e2e_ms\na,100,10,190\nb,200,20,580\n");
  }
  ~RunFolder() { fs::remove_all(root_); }
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  void write(const char* file, const std::string& text) const { write_file(path_ / file, text); }
  [[nodiscard]] const fs::path& path() const { return path_; }
  [[nodiscard]] const fs::path& root() const { return root_; }

 private:
  static inline int counter_ = 0;
  fs::path root_, path_;
};

const ComparedValue& find(const Validation& validation, const std::string& metric) {
  const auto found = std::ranges::find(validation.rows, metric, &ComparedValue::metric);
  REQUIRE_MESSAGE(found != validation.rows.end(), metric);
  return *found;
}

}  // namespace

TEST_CASE("a recorded run is replayed with its own requests and arguments") {
  const RunFolder folder("rtx4090-tiny", R"(, "max_num_batched_tokens": 512, "block_size": 32)");
  const RecordedRun run = read_recorded_run(folder.path());
  REQUIRE(run.problem.empty());
  const InstanceSpec& instance = run.scenario->instances.front();
  CHECK(run.system == "rtx_4090");
  CHECK(run.engine == "vllm 0.19");
  CHECK(instance.engine.max_num_seqs == 128);
  CHECK(instance.engine.max_num_batched_tokens == 512);
  CHECK(instance.engine.block_size == 32);
  CHECK(run.scenario->cluster.total_gpus() == 1);
  const Validation validation = validate_runs({folder.path()}, 1);
  REQUIRE(validation.unsupported.empty());
  CHECK(validation.rows.size() == 15);
  CHECK(find(validation, "ttft_mean").measured == 150);
  CHECK(find(validation, "tpot_p50").measured == 15);
  CHECK(find(validation, "e2e_p90").measured == doctest::Approx(541));  // 190 + 0.9 x 390
  // One request at a time: E2E is TTFT and the gaps after it, 9 and 19 of them.
  CHECK(find(validation, "ttft_mean").predicted > 5);
  CHECK(find(validation, "e2e_mean").predicted ==
        doctest::Approx(find(validation, "ttft_mean").predicted +
                        14 * find(validation, "tpot_mean").predicted)
            .epsilon(0.05));
  const ErrorGroup& group = validation.groups.front();
  CHECK(group.name == "rtx4090-tiny");
  CHECK(group.metric == "ttft_mean");
  CHECK(group.n == 2);
  CHECK(group.median_ape == std::abs(group.median_pe));
}

TEST_CASE("the card may be named as the driver names it, and KV blocks be recorded") {
  const RunFolder folder(
      "somewhere-else", "",
      R"(, "hardware": {"name": "NVIDIA RTX PRO 6000 Blackwell Server Edition", "sm": "12.0"},)"
      R"( "kv_cache": {"num_gpu_blocks": 30000, "block_size": 16})");
  CHECK(read_recorded_run(folder.path()).system == "rtx_pro_6000");
  const Validation validation = validate_runs({folder.root()}, 2);
  CHECK(find(validation, "kv_blocks").measured == 30000);
  // 94.97 GiB x 0.9 less 15 GiB of weights, at 2 MiB a block.
  CHECK(find(validation, "kv_blocks").predicted > 32000);
  CHECK(find(validation, "kv_blocks").predicted < 36000);
}

TEST_CASE("the peer's error on the same statistic stands beside ours") {
  const RunFolder folder("rtx4090-tiny");
  folder.write("peer_summary.txt",
               "Metric  vLLM  Sim  Diff%\n-----\nTTFT Mean  150.0  120.0  -20.0%\n\n"
               "Latency Median  400.0  410.0  +2.5%\nOther Mean 1 2 3%\n");
  const Validation validation = validate_runs({folder.path()}, 1);
  CHECK(*find(validation, "ttft_mean").peer_error == doctest::Approx(-0.2));
  CHECK(*find(validation, "e2e_p50").peer_error == doctest::Approx(0.025));
  CHECK_FALSE(find(validation, "tpot_mean").peer_error.has_value());
}

TEST_CASE("what a run asks for and we do not have is said, never dropped in silence") {
  const RunFolder unknown("rtx4090-x", R"(, "warp_speed": 9, "seed": 42)");
  CHECK(read_recorded_run(unknown.path()).assumed ==
        std::vector<std::string>{"warp_speed 9 left out"});
  const RunFolder card("abacus-x");
  const Validation validation = validate_runs({card.path()}, 1);
  REQUIRE(validation.unsupported.size() == 1);
  CHECK(validation.unsupported[0].reason == "the card is not named, or not shipped");
  // On one GPU expert parallelism changes nothing.
  const RunFolder alone("rtx4090-y", R"(, "enable_expert_parallel": true)");
  CHECK(read_recorded_run(alone.path()).problem.empty());
}

TEST_CASE("a folder without runs, and a run without its files, are refused") {
  const RunFolder folder("rtx4090-tiny");
  CHECK_THROWS_AS(static_cast<void>(validate_runs({folder.root() / "no"}, 1)), InputError);
  fs::remove(folder.path() / "measured.csv");
  CHECK_THROWS_AS(static_cast<void>(validate_runs({folder.path()}, 1)), InputError);
}
