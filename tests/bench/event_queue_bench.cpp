#include <benchmark/benchmark.h>

#include "sim/base/random.h"
#include "sim/engine/event_queue.h"

namespace moesim {
namespace {

// Hold model: pop the earliest, push one later; `pending` events stay in the queue.
void BM_EventQueue_Hold(benchmark::State& state) {
  Rng rng(1, "bench");
  EventQueue queue;
  std::uint64_t sequence = 0;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    queue.push({static_cast<SimTime>(rng.exponential() * 1e6), sequence++});
  }
  for (auto _ : state) {
    const ReadyEvent earliest = queue.pop();
    queue.push({earliest.time + static_cast<SimTime>(rng.exponential() * 1e6), sequence++});
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_EventQueue_Hold)->ArgName("pending")->Arg(100)->Arg(10'000)->Arg(1'000'000);

}  // namespace
}  // namespace moesim
