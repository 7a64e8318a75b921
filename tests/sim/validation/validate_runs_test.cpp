#include "sim/validation/validate_runs.h"

#include <algorithm>
#include <atomic>
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
  REQUIRE(validation.unsupported.size() == 1);
  CHECK(validation.unsupported[0].reason ==
        "kv_blocks: not recorded; engine.json has no kv_cache.num_gpu_blocks");
  CHECK(validation.unsupported[0].rows == 0);  // the run itself was compared
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
  CHECK(validation.unsupported.empty());
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

TEST_CASE("each statistic has the interval of its replicas, and a run its coverage") {
  const RunFolder folder("rtx4090-tiny");
  const Validation one = validate_runs({folder.path()}, 1);
  const Validation three = validate_runs({folder.path()}, 3);
  REQUIRE(one.rows.size() == 15);
  for (std::size_t i = 0; i < one.rows.size(); ++i) {
    const ComparedValue& row = one.rows[i];
    CAPTURE(row.metric);
    REQUIRE(row.p10);
    // Step times of a 4090 are uncertain by some percent, not by half.
    CHECK(*row.p10 < row.predicted);
    CHECK(*row.p90 > row.predicted);
    CHECK(*row.p10 > 0.7 * row.predicted);
    CHECK(*row.p90 < 1.4 * row.predicted);
    CHECK(*three.rows[i].p10 == *row.p10);  // however many work on it
  }
  REQUIRE(one.coverage.size() == 2);
  CHECK(one.coverage[0].name == "rtx4090-tiny");
  CHECK(one.coverage[0].n == 15);
  CHECK(one.coverage[1].name == "pooled");
  // What was measured is made up: put it where the prediction is.
  folder.write("measured.csv",
               fmt::format("request_id,ttft_ms,tpot_ms,e2e_ms\na,{0},{1},{2}\nb,{0},{1},{2}\n",
                           find(one, "ttft_mean").predicted, find(one, "tpot_mean").predicted,
                           find(one, "e2e_mean").predicted));
  const Validation met = validate_runs({folder.path()}, 1);
  CHECK(met.coverage[1].share > one.coverage[1].share);
}

TEST_CASE("files of different runs are refused, each with its reason") {
  struct Case {
    std::string why, engine, requests, measured, key, problem;
  };
  const Case cases[] = {
      {"a log cut short", "", "", "request_id,ttft_ms,tpot_ms,e2e_ms\na,100,10,190\n", "",
       "1 requests were measured, 2 sent in requests.csv"},
      {"another number is stated", R"(, "num_requests": 7)", "", "", "num_requests",
       "7, but 2 were measured"},
      {"other requests", "", "", "request_id,ttft_ms,tpot_ms,e2e_ms\na,1,1,1\nc,1,1,1\n",
       "request_id", "'c' is not in requests.csv"},
      {"a time that is none", "", "",
       "request_id,queued_s,ttft_ms,tpot_ms,e2e_ms\na,abc,1,1,1\nb,0,1,1,1\n", "queued_s",
       "'abc' is not a number"},
      {"a latency that is none", "", "", "request_id,ttft_ms,tpot_ms,e2e_ms\na,1,x,1\nb,1,1,1\n",
       "tpot_ms", "'x' is not a number"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const RunFolder folder("rtx4090-tiny", "", c.engine);
    if (!c.measured.empty()) folder.write("measured.csv", c.measured);
    try {
      (void)read_recorded_run(folder.path());
      FAIL("accepted");
    } catch (const InputError& error) {
      CHECK(error.diagnostics().front().key == c.key);
      CHECK(error.diagnostics().front().problem == c.problem);
    }
  }
  CHECK(read_recorded_run(RunFolder("rtx4090-tiny", "", R"(, "num_requests": 2)").path())
            .problem.empty());
}

TEST_CASE("a release whose rules we do not know is said to be assumed") {
  struct Case {
    std::string version, assumed;
  };
  const Case cases[] = {{"0.19.0", ""},
                        {"0.99.0", "newer than every release we know"},
                        {"nightly", "vllm_version 'nightly' is no release"},
                        {"", "vllm_version not stated"}};
  for (const Case& c : cases) {
    CAPTURE(c.version);
    const RunFolder folder("rtx4090-tiny");
    folder.write(
        "engine.json",
        fmt::format(R"({{"model": "meta-llama/Llama-3.1-8B", "vllm_version": "{}"}})", c.version)
            .c_str());
    const RecordedRun run = read_recorded_run(folder.path());
    CHECK(run.problem.empty());
    REQUIRE(run.assumed.size() == (c.assumed.empty() ? 0 : 1));
    if (!c.assumed.empty()) CHECK(run.assumed[0].find(c.assumed) != std::string::npos);
  }
}

TEST_CASE("a run that was not reached is no result") {
  const RunFolder folder("rtx4090-tiny");
  const std::atomic<bool> stop{true};
  const Validation validation = validate_runs({folder.path()}, 1, &stop);
  CHECK(validation.rows.empty());
  CHECK(validation.unreached == 1);
}

TEST_CASE("a folder without runs, and a run without its files, are refused") {
  const RunFolder folder("rtx4090-tiny");
  struct Case {
    const char *name, *problem;
  };
  fs::create_directories(folder.root() / "empty");
  write_file(folder.root() / "file", "x");
  for (const Case& c : {Case{"no", "cannot be opened: No such file or directory"},
                        Case{"file", "cannot be opened: Not a directory"},
                        Case{"empty",
                             "no recorded run: a folder with engine.json, requests.csv, "
                             "measured.csv"}}) {
    CAPTURE(c.name);
    try {
      (void)validate_runs({folder.root() / c.name}, 1);
      FAIL("accepted");
    } catch (const InputError& error) {
      CHECK(error.diagnostics().front().problem == c.problem);
    }
  }
  fs::remove(folder.path() / "measured.csv");
  CHECK_THROWS_AS(static_cast<void>(validate_runs({folder.path()}, 1)), InputError);
}
