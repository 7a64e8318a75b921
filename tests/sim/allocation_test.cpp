// Whole runs in a steady state: what is allocated per step, and for what. Engines alone, with
// windows, prefixes and pipelines: tests/laws.
#include <cstdlib>
#include <doctest/doctest.h>
#include <new>
#include <string>

#include "scenarios/load.h"
#include "sim/build.h"
#include "sim/report/metrics.h"

// Sanitizers have allocation functions of their own, which must stay.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MOESIM_COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MOESIM_COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef MOESIM_COUNTS_ALLOCATIONS
#define MOESIM_COUNTS_ALLOCATIONS 1
#endif

namespace {
std::size_t allocations = 0;
}  // namespace

#if MOESIM_COUNTS_ALLOCATIONS
// Counts every allocation of this program. Replaced for all of it, used by this file.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new(std::size_t size) {
  void* memory = operator new(size, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
#endif

using namespace moesim;

namespace {

constexpr std::uint64_t kWarm = 2'000, kEnd = 20'000;

/// Reads the counter when the run is warm, half-way and at the end; passes everything on.
class Counter final : public Observer {
 public:
  explicit Counter(Observer* next) : next_(next) {}
  void step(const StepRecord& record) override {
    if (next_ != nullptr) next_->step(record);
    ++steps_;
    if (steps_ == 1) first = allocations;
    if (steps_ == kWarm) warm = allocations;
    if (steps_ == kEnd / 2) half = allocations;
    if (steps_ == kEnd) end = allocations;
  }
  void inter_token(InstanceId instance, SimTime gap, std::int64_t count) override {
    if (next_ != nullptr) next_->inter_token(instance, gap, count);
  }
  void preempted(InstanceId, RequestId, SimTime) override {
    if (steps_ >= kWarm && steps_ < kEnd) ++preemptions;
  }
  void finished(InstanceId, RequestId, SimTime) override {}

  std::size_t first = 0, warm = 0, half = 0, end = 0;
  std::size_t preemptions = 0;  ///< between warm and end

 private:
  Observer* next_;
  std::uint64_t steps_ = 0;
};

/// A closed loop of 64 users whose requests have these lengths.
Scenario closed_loop(const std::string& lengths, const std::string& engine) {
  return load_scenario_text(
      "schema_version: 1\n"
      "name: steady\n"
      "model: mistralai/Mixtral-8x7B-v0.1\n"
      "system: {nodes: [{profile: h100_sxm, gpus: 2}]}\n"
      "engine: {max_model_len: 2000" +
          engine +
          "}\n"
          "deployment: {instances: [{tensor_parallel_size: 2}]}\n"
          "workload: {arrival: {kind: closed_loop, max_concurrency: 64},\n"
          "  synthetic: {num_prompts: 16000, " +
          lengths + "}}\n",
      "steady.yaml", ".");
}

Counter counted(const Scenario& scenario, bool metrics) {
  World world = build(scenario);
  Metrics sums(world.instance_count(), world.scenario(), world.workload());
  Counter counter(metrics ? &sums : nullptr);
  world.run(&counter);
  if (MOESIM_COUNTS_ALLOCATIONS == 1)
    REQUIRE(counter.end > counter.first);  // it counts, and long enough
  return counter;
}

const std::string kAlike = "input_tokens: 100, output_tokens: 100";
const std::string kDiffering =
    "input_tokens: {uniform: [20, 180]}, output_tokens: {uniform: [1, 200]}";

}  // namespace

TEST_CASE("a steady run allocates nothing") {
  const Counter counter = counted(closed_loop(kAlike, ""), false);
  CHECK(counter.end - counter.warm == 0);
}

TEST_CASE("metrics allocate when their one-second buckets double, and for nothing else") {
  const Counter counter = counted(closed_loop(kAlike, ""), true);
  // From 2,000 to 20,000 steps a table doubles four times at most.
  CHECK(counter.end - counter.warm <= 4);
}

TEST_CASE("requests that differ allocate for each new token and row count, then nothing") {
  // A new token count costs two allocations, for its pool and its operators, a new row count one.
  const Counter counter = counted(closed_loop(kDiffering, ""), false);
  CHECK(counter.end - counter.warm < 60);
  CHECK(counter.end - counter.half < 24);
}

TEST_CASE("a full cache costs an allocation for each request preempted, its identity") {
  const Counter counter = counted(closed_loop(kAlike, ", num_gpu_blocks_override: 500"), false);
  CHECK(counter.preemptions > 1000);
  CHECK(counter.end - counter.warm <= counter.preemptions + 60);
}
