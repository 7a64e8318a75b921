#include "sim/engine/instance.h"

#include <doctest/doctest.h>
#include <map>
#include <string>
#include <vector>

#include "tests/reference/engine_run.h"
#include "tests/reference/step_table.h"

using namespace moesim;
using namespace moesim::reference;

namespace {

constexpr FormulaPricer::Terms kFlat{.step_ns = 1000,
                                     .decode_ns = 0,
                                     .context_ns = 0,
                                     .prompt_ns = 0,
                                     .attention_ns = 0,
                                     .row_ns = 0,
                                     .stage_ns = 0};

struct StepTimes {
  SimTime scheduled, gpu_start, gpu_end, out_done;
};

std::string text(const std::vector<StepTimes>& steps) {
  std::string result;
  for (const StepTimes& s : steps) {
    result += std::to_string(s.scheduled) + ": gpu " + std::to_string(s.gpu_start) + ".." +
              std::to_string(s.gpu_end) + " out " + std::to_string(s.out_done) + "\n";
  }
  return result;
}

/// One request of 4 + 4 tokens, host costs in us: schedule, prepare, output.
std::string run_steps(const Situation& situation, const HostCost& host, double step_ns) {
  PlainConfig config = config_of(situation);
  config.host = host;
  FormulaPricer::Terms terms = kFlat;
  terms.step_ns = step_ns;
  FormulaPricer pricer(terms, situation.limits.pipeline_stages);
  const Workload workload = workload_of(situation);
  std::vector<StepTimes> steps;
  for (const PlainCall& call : run_engine(config, workload, pricer).calls) {
    if (!call.empty()) {
      steps.push_back({call.scheduled, call.gpu_start, call.gpu_end, call.out_done});
    }
  }
  return text(steps);
}

HostCost host_us(double schedule, double prepare, double output) {
  return {.s0_us = schedule,
          .s1_us = 0,
          .s2_us = 0,
          .s3_us = 0,
          .p0_us = prepare,
          .p1_us = 0,
          .o0_us = output,
          .o1_us = 0};
}

}  // namespace

TEST_CASE("synchronous: host and GPU take turns") {
  Situation s;
  s.requests = {{100, 4, 3}};
  // 10 + 20 us before the GPU, 5 us after; the GPU 50 us.
  CHECK(run_steps(s, host_us(10, 20, 5), 50'000) == text({{100, 30'100, 80'100, 85'100},
                                                          {85'100, 115'100, 165'100, 170'100},
                                                          {170'100, 200'100, 250'100, 255'100}}));
}

TEST_CASE("async: the host works while the GPU does, and its time disappears") {
  Situation s;
  s.limits.async = true;
  s.requests = {{0, 4, 4}};
  CHECK(run_steps(s, host_us(10, 20, 5), 50'000) == text({{0, 30'000, 80'000, 85'000},
                                                          {30'000, 80'000, 130'000, 135'000},
                                                          {85'000, 130'000, 180'000, 185'000},
                                                          {135'000, 180'000, 230'000, 235'000}}));
}

TEST_CASE("async with a slow host: the period is the host's, not the sum") {
  Situation s;
  s.limits.async = true;
  s.requests = {{0, 4, 4}};
  // The first step is done when the second is launched, so its output comes first. Then 35 us a
  // step.
  CHECK(run_steps(s, host_us(10, 20, 5), 8'000) == text({{0, 30'000, 38'000, 65'000},
                                                         {30'000, 60'000, 68'000, 100'000},
                                                         {65'000, 95'000, 103'000, 135'000},
                                                         {100'000, 130'000, 138'000, 143'000}}));
}

TEST_CASE("pipeline stages are servers one after the other") {
  Situation s;
  s.limits.pipeline_stages = 2;
  s.limits.max_num_batched_tokens = 4;
  s.requests = {{0, 4, 2}, {0, 4, 2}};
  // Each step takes 50 us on each of two stages.
  CHECK(run_steps(s, host_us(0, 0, 0), 50'000) == text({{0, 0, 100'000, 100'000},
                                                        {0, 50'000, 150'000, 150'000},
                                                        {100'000, 100'000, 200'000, 200'000},
                                                        {150'000, 150'000, 250'000, 250'000}}));
}

TEST_CASE("the gap of a step is the GPU's wait for the host, not for work or for the pipeline") {
  struct Case {
    std::string why;
    int stages;
    std::vector<SimTime> expect;  // of the three steps of one request
  };
  const std::vector<Case> cases = {
      {"5 us of output, then 30 us of scheduling and preparing", 1, {0, 35'000, 35'000}},
      {"with two stages the first waits for the second as well, which is not the host's",
       2,
       {0, 35'000, 35'000}},
  };
  for (const Case& c : cases) {
    INFO(c.why);
    Situation s;
    s.limits.pipeline_stages = c.stages;
    s.requests = {{0, 4, 3}};
    PlainConfig config = config_of(s);
    config.host = host_us(10, 20, 5);
    FormulaPricer pricer(kFlat, c.stages);
    const PlainResult result = run_engine(config, workload_of(s), pricer);
    std::vector<SimTime> gaps;
    for (const PlainCall& call : result.calls) {
      if (!call.empty()) gaps.push_back(call.gap);
    }
    CHECK(gaps == c.expect);
  }
}

TEST_CASE("host costs follow the sizes of the step") {
  Situation s;
  s.caching = true;
  s.requests = {{0, 9, 2}, {0, 4, 2}};
  // Step 0: s0 + 2 running + 2 admitted + (2 + 1) blocks hashed; p0 + 2 sequences. Output: o0 + 2.
  const HostCost host{.s0_us = 100,
                      .s1_us = 1,
                      .s2_us = 10,
                      .s3_us = 2,
                      .p0_us = 1000,
                      .p1_us = 3,
                      .o0_us = 50,
                      .o1_us = 7};
  const SimTime launch = 100'000 + 2'000 + 20'000 + 6'000 + 1'000'000 + 6'000;
  const SimTime out = launch + 1000 + 64'000;
  const SimTime next = out + 100'000 + 2'000 + 1'000'000 + 6'000;
  CHECK(run_steps(s, host, 1000) ==
        text({{0, launch, launch + 1000, out}, {out, next, next + 1000, next + 65'000}}));
}

TEST_CASE("an idle instance sleeps until a request arrives") {
  Situation s;
  s.requests = {{0, 4, 1}, {5000, 4, 1}};
  const Workload workload = workload_of(s);
  RequestTable table = make_table(workload, s.limits);
  FormulaPricer pricer(kFlat, 1);
  Instance instance(instance_config(config_of(s)), workload, table, make_scheduler("vllm_v1"),
                    pricer);
  CHECK(instance.next_time() == kNever);
  instance.arrive(0, 0);
  CHECK(instance.next_time() == 0);
  CHECK(instance.token_load() == 5);
  CHECK(instance.waiting() == 1);
  CHECK(instance.act(nullptr).empty());
  CHECK(instance.running() == 1);
  CHECK(instance.next_time() == 1000);
  CHECK(instance.act(nullptr) == std::vector<std::uint32_t>{0});
  CHECK(instance.next_time() == kNever);
  CHECK(instance.token_load() == 0);
  instance.arrive(1, 5000);
  CHECK(instance.next_time() == 5000);
  (void)instance.act(nullptr);
  (void)instance.act(nullptr);
  CHECK(table.finish[1] == 6000);
  CHECK(table.status[1] == RequestStatus::kCompleted);
  CHECK(instance.totals().steps == 2);
  CHECK(instance.totals().step_ns == 2000);
  CHECK(instance.totals().gap_ns == 0);  // idle time without work is no gap
}

TEST_CASE("a preempted request keeps its first token; its next gap holds the wait") {
  class Gaps final : public Observer {
   public:
    void step(const StepRecord&) override {}
    void inter_token(InstanceId, SimTime gap, std::int64_t count) override { gaps[gap] += count; }
    void preempted(InstanceId, RequestId, SimTime) override {}
    void finished(InstanceId, RequestId, SimTime) override {}
    std::map<SimTime, std::int64_t> gaps;
  };
  Situation situation;  // two requests of 4 + 6 tokens; the third block of 0 costs 1 its place
  situation.blocks = 4;
  situation.requests = {{0, 4, 6}, {0, 4, 6}};
  const PlainConfig config = config_of(situation);
  const Workload workload = workload_of(situation);
  RequestTable table = make_table(workload, config.limits);
  FormulaPricer pricer(kFlat, 1);
  Instance instance(instance_config(config), workload, table, make_scheduler("vllm_v1"), pricer);
  Gaps observer;
  run_to_end(instance, workload, &observer);
  CHECK(table.preemptions[1] == 1);
  CHECK(table.first_token[1] == 1000);
  CHECK(table.second_token[1] == 2000);
  CHECK(table.finish[0] == 6000);
  CHECK(table.finish[1] == 7000);  // evicted at 5000, computed again from 6000
  CHECK(observer.gaps == std::map<SimTime, std::int64_t>{{1000, 9}, {2000, 1}});
}

TEST_CASE("what is unfinished at the end is incomplete, with the tokens it has") {
  Situation s;
  s.limits.max_num_seqs = 1;
  s.requests = {{0, 4, 10}, {0, 4, 1}};
  const Workload workload = workload_of(s);
  RequestTable table = make_table(workload, s.limits);
  FormulaPricer pricer(kFlat, 1);
  Instance instance(instance_config(config_of(s)), workload, table, make_scheduler("vllm_v1"),
                    pricer);
  instance.arrive(0, 0);
  instance.arrive(1, 0);
  for (int action = 0; action < 6; ++action) (void)instance.act(nullptr);
  instance.cut_off();
  CHECK(table.generated[0] == 3);
  CHECK(table.status[0] == RequestStatus::kIncomplete);
  CHECK(table.generated[1] == 0);
  CHECK(table.status[1] == RequestStatus::kIncomplete);
  CHECK(table.finish[0] == kNever);
}

TEST_CASE("scheduling ahead does not hide the exposed gap, except after idling") {
  Situation s;
  s.limits.async = true;
  s.requests = {{0, 4, 3}};
  HostCost host = host_us(10, 20, 5);
  host.exposed_us = 7;
  host.exposed_per_sequence_us = 2;
  // As above, but the GPU starts 7 + 2 x 1 us after the step before it; not so the first.
  CHECK(run_steps(s, host, 50'000) == text({{0, 30'000, 80'000, 85'000},
                                            {30'000, 89'000, 139'000, 144'000},
                                            {85'000, 148'000, 198'000, 203'000}}));
  s.limits.async = false;
  CHECK(run_steps(s, host, 50'000) == run_steps(s, host_us(10, 20, 5), 50'000));
}

TEST_CASE("a request passes the API server first: prompts one after another, then a fixed time") {
  Situation s;
  s.requests = {{0, 4, 1}, {1000, 10, 1}};
  const Workload workload = workload_of(s);
  RequestTable table = make_table(workload, s.limits);
  FormulaPricer pricer(kFlat, 1);
  Instance::Config config = instance_config(config_of(s));
  config.api = {.request_us = 20, .per_prompt_token_us = 5};
  Instance instance(config, workload, table, make_scheduler("vllm_v1"), pricer);
  instance.arrive(0, 0);
  CHECK(instance.next_time() == 40'000);  // 4 x 5 + 20 us
  CHECK(instance.waiting() == 1);         // a router sees it
  instance.arrive(1, 1000);               // tokenised from 20 us on: 20 + 10 x 5 + 20
  while (instance.next_time() != kNever) (void)instance.act(nullptr);
  CHECK(table.arrival[1] == 1000);
  CHECK(table.first_scheduled[0] == 40'000);
  CHECK(table.finish[0] == 41'000);
  CHECK(table.first_scheduled[1] == 90'000);
  CHECK(table.finish[1] == 91'000);
}

TEST_CASE("requests are fetched every third step of decodes, after prompts and when idle") {
  // Steps of 1 us. After the prompt of 0 requests are fetched at 1 us, and then at 4 us: that step
  // runs the prompt of 1. After it they are fetched at 5 us and then at 8 us.
  struct Case {
    int interval;
    std::vector<SimTime> first_scheduled;
  };
  const Case cases[] = {{1, {0, 2'000, 6'000, 20'000}}, {3, {0, 4'000, 8'000, 20'000}}};
  for (const Case& c : cases) {
    CAPTURE(c.interval);
    Situation s;
    s.requests = {{0, 4, 10}, {1'500, 4, 5}, {5'500, 4, 2}, {20'000, 4, 1}};
    const Workload workload = workload_of(s);
    RequestTable table = make_table(workload, s.limits);
    FormulaPricer pricer(kFlat, 1);
    Instance::Config config = instance_config(config_of(s));
    config.recv_interval = c.interval;
    Instance instance(config, workload, table, make_scheduler("vllm_v1"), pricer);
    for (std::uint32_t r = 0; r < 4; ++r) {
      const SimTime now = s.requests[r].arrival;
      while (instance.next_time() < now) (void)instance.act(nullptr);
      instance.arrive(r, now);
    }
    while (instance.next_time() != kNever) (void)instance.act(nullptr);
    CHECK(table.first_scheduled == c.first_scheduled);
  }
}

TEST_CASE("a run cut off leaves requests before the API server incomplete") {
  Situation s;
  s.requests = {{0, 4, 1}};
  const Workload workload = workload_of(s);
  RequestTable table = make_table(workload, s.limits);
  FormulaPricer pricer(kFlat, 1);
  Instance::Config config = instance_config(config_of(s));
  config.api = {.request_us = 20, .per_prompt_token_us = 0};
  Instance instance(config, workload, table, make_scheduler("vllm_v1"), pricer);
  instance.arrive(0, 0);
  instance.cut_off();
  CHECK(table.status[0] == RequestStatus::kIncomplete);
}
