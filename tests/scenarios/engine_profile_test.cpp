#include "scenarios/engine_profile.h"

#include <algorithm>
#include <doctest/doctest.h>

namespace moesim {
namespace {

using namespace literals;

// Rows copied by hand from serving-semantics 0.2, 1.2 and the table in models/memory.h.
TEST_CASE("a release has the fields of the dated changes before it") {
  struct Case {
    const char* version;
    bool async_scheduling, full_isl, full_graphs;
    int graph_sizes;
    double utilization;
    bool graphs_in_budget, context_outside, worst_case_moe;
    int chunk;
    const char* all2all;
    double s0_us;
  };
  const Case cases[] = {
      {"0.9", false, false, false, 67, 0.90, false, false, false, 32768, "naive", 87.5},
      {"0.10", false, false, false, 67, 0.90, false, false, false, 32768, "naive", 87.5},
      {"0.11", false, false, true, 67, 0.90, false, true, false, 32768, "allgather_reducescatter",
       87.5},
      {"0.12", false, false, true, 51, 0.90, false, true, true, 16384, "allgather_reducescatter",
       50},
      {"0.13", false, false, true, 51, 0.90, false, true, true, 16384, "allgather_reducescatter",
       50},
      {"0.14", true, false, true, 51, 0.90, false, true, true, 16384, "allgather_reducescatter",
       50},
      {"0.15.1", true, false, true, 51, 0.90, false, true, true, 16384, "allgather_reducescatter",
       50},
      {"0.16.0", true, false, true, 51, 0.90, false, true, true, 16384, "allgather_reducescatter",
       50},
      {"0.17", true, false, true, 51, 0.90, false, true, true, 0, "allgather_reducescatter", 50},
      {"0.18", true, false, true, 51, 0.90, false, true, true, 0, "allgather_reducescatter", 50},
      {"0.19.0", true, true, true, 51, 0.90, false, true, true, 0, "allgather_reducescatter", 50},
      {"0.20", true, true, true, 51, 0.90, false, true, true, 0, "allgather_reducescatter", 50},
      {"0.21", true, true, true, 51, 0.92, true, true, true, 0, "allgather_reducescatter", 50},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.version));
    const ProfileChoice choice = engine_profile("vllm", c.version);
    const EngineProfile& profile = choice.profile;
    CHECK(choice.note.empty());
    CHECK(profile.async_scheduling == c.async_scheduling);
    CHECK(profile.reserve_full_isl == c.full_isl);
    CHECK(profile.full_graphs == c.full_graphs);
    CHECK(profile.graph_sizes_rule == c.graph_sizes);
    CHECK(profile.gpu_memory_utilization == c.utilization);
    CHECK(profile.memory.utilization == c.utilization);
    CHECK(profile.memory.graphs_in_budget == c.graphs_in_budget);
    CHECK(profile.memory.context_outside_budget == c.context_outside);
    CHECK(profile.memory.worst_case_moe_workspace == c.worst_case_moe);
    CHECK(profile.memory.fused_moe_chunk == c.chunk);
    CHECK(profile.memory.sampler_copies == 9.5);
    CHECK(profile.memory.context_bytes == 512_MiB);
    CHECK(profile.all2all_backend == c.all2all);
    CHECK(profile.host.s0_us == doctest::Approx(c.s0_us));
  }
}

TEST_CASE("the newest release is the default and has the host costs of 4.5") {
  const EngineProfile profile = engine_profile("vllm", "").profile;
  CHECK(profile.version == "0.21");
  CHECK(profile.host.s1_us == 1.5);
  CHECK(profile.host.s2_us == 20);
  CHECK(profile.host.s3_us == 1);
  CHECK(profile.host.p0_us == 250);
  CHECK(profile.host.p1_us == 1);
  CHECK(profile.host.o0_us == 100);
  CHECK(profile.host.o1_us == 3);
}

TEST_CASE("a release outside the table takes the nearest and says so") {
  const ProfileChoice newer = engine_profile("vllm", "0.35.2");
  CHECK(newer.profile.version == "0.21");
  CHECK(newer.note.find("newer") != std::string::npos);
  const ProfileChoice next_major = engine_profile("vllm", "1.0");
  CHECK(next_major.profile.version == "0.21");
  const ProfileChoice older = engine_profile("vllm", "0.4.1");
  CHECK(older.profile.version == "0.9");
  CHECK(older.note.find("older") != std::string::npos);
}

TEST_CASE("what is a release") {
  for (const char* good : {"0.19", "0.15.1", "v0.12", "1", "0.10.0rc2"}) CHECK(is_version(good));
  for (const char* bad : {"", "latest", "0.x", "-1.2", ".19"}) CHECK_FALSE(is_version(bad));
}

TEST_CASE("known releases are in order, oldest first") {
  const std::vector<std::string> versions = known_versions("vllm");
  CHECK(versions.size() == 13);
  CHECK(versions.front() == "0.9");
  CHECK(versions.back() == "0.21");
  CHECK(known_backends() == std::vector<std::string>{"vllm", "sglang", "trtllm", "static_batch"});
}

TEST_CASE("a static batch loop is synchronous, eager and has no graphs") {
  const EngineProfile profile = engine_profile("static_batch", "").profile;
  CHECK_FALSE(profile.async_scheduling);
  CHECK_FALSE(profile.full_graphs);
  CHECK(profile.memory.enforce_eager);
  CHECK(profile.memory.graph_sizes == 0);
}

TEST_CASE("capture sizes follow the release's list") {
  const std::vector<int> fine = default_capture_sizes(51, 1024, 8192);
  CHECK(fine.size() == 51);
  CHECK(fine[0] == 1);
  CHECK(fine[2] == 4);
  CHECK(fine[3] == 8);
  CHECK(fine[33] == 248);
  CHECK(fine[34] == 256);
  CHECK(fine[35] == 272);
  CHECK(fine.back() == 512);
  const std::vector<int> early = default_capture_sizes(67, 1024, 8192);
  CHECK(early.size() == 67);
  CHECK(early[35] == 264);
  CHECK(early.back() == 512);
}

TEST_CASE("capture sizes stop at what a step can hold") {
  CHECK(default_capture_sizes(51, 1, 2048) == std::vector<int>{1, 2});
  CHECK(default_capture_sizes(51, 4, 2048) == std::vector<int>{1, 2, 4, 8});
  CHECK(default_capture_sizes(51, 256, 20) == std::vector<int>{1, 2, 4, 8, 16});
  CHECK(default_capture_sizes(51, 64, 2048).back() == 128);
  CHECK(default_capture_sizes(0, 256, 2048).empty());
}

TEST_CASE("large cards get larger batches, the A100 does not") {
  const BatchDefaults h100 = batch_defaults("h100_sxm", Bytes(85040352133));
  CHECK(h100.max_num_batched_tokens == 8192);
  CHECK(h100.max_num_seqs == 1024);
  const BatchDefaults a100 = batch_defaults("a100_sxm", Bytes(85040352133));
  CHECK(a100.max_num_batched_tokens == 2048);
  CHECK(a100.max_num_seqs == 256);
  const BatchDefaults l40s = batch_defaults("l40s", 44_GiB);
  CHECK(l40s.max_num_batched_tokens == 2048);
  CHECK(batch_defaults("own", 70_GiB).max_num_seqs == 1024);
}

}  // namespace
}  // namespace moesim
