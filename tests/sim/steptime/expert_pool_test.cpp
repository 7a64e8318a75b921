#include "sim/steptime/expert_pool.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>
#include <string>
#include <vector>

#include "models/family.h"
#include "models/hf_config.h"
#include "tests/sim/small_cluster.h"

using namespace moesim;

namespace {

/// Draws a number below 100 into the first count, whatever it is asked for.
class Numbers final : public ExpertRouting {
 public:
  void draw(int, int, int, Rng& rng, std::span<std::uint32_t> counts) const override {
    counts[0] = rng.below(100);
  }
};

double first_count(int, std::span<const std::uint32_t> counts) {
  return counts[0];
}

double active_experts(int, std::span<const std::uint32_t> counts) {
  return static_cast<double>(
      std::count_if(counts.begin(), counts.end(), [](auto c) { return c > 0; }));
}

double busiest_expert(int, std::span<const std::uint32_t> counts) {
  return *std::max_element(counts.begin(), counts.end());
}

std::vector<double> prices(ExpertPool& pool, int tokens, std::uint64_t steps) {
  std::vector<double> result;
  for (std::uint64_t step = 0; step < steps; ++step) result.push_back(pool.layers_ns(tokens, step));
  return result;
}

/// Mean price of a layer over many seeds and steps.
double pool_mean(const ExpertPool::Price& price, int experts, int top_k, int tokens) {
  const auto routing = made<ExpertRouting>("uniform");
  constexpr int kSeeds = 60, kSteps = 64, kLayers = 4;
  double sum = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    ExpertPool pool(*routing, price, experts, top_k, kLayers, seed, tokens);
    const std::vector<double> steps = prices(pool, tokens, kSteps);
    sum += std::accumulate(steps.begin(), steps.end(), 0.0);
  }
  return sum / (kSeeds * kSteps * kLayers);
}

/// The same by drawing afresh every time.
double drawn_mean(const ExpertPool::Price& price, int experts, int top_k, int tokens, int draws) {
  const auto routing = made<ExpertRouting>("uniform");
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(experts));
  Rng rng(99, "brute force");
  double sum = 0;
  for (int i = 0; i < draws; ++i) {
    routing->draw(0, tokens, top_k, rng, counts);
    sum += price(tokens, counts);
  }
  return sum / draws;
}

}  // namespace

TEST_CASE("a pool is made once per token count, from as many draws as its work allows") {
  struct Case {
    std::string why;
    int tokens, top_k, draws, pools;
  };
  // 2^14 assignments a pool, but 4 to 64 draws.
  const Case cases[] = {
      {"no tokens, no work", 0, 2, 0, 0},
      {"one token: at most 64 draws", 1, 2, 64, 1},
      {"128 x 2 assignments: 16384 / 256", 128, 2, 64, 1},
      {"256 x 2: half as many", 256, 2, 32, 1},
      {"512 x 8: 4", 512, 8, 4, 1},
      {"512 x 2 is a pool of its own", 512, 2, 16, 1},
      {"513 lies between the pools of 512 (16 draws) and 544 (15)", 513, 2, 31, 2},
      {"1024 is a pool again", 1024, 2, 8, 1},
      {"8191 lies between 7936 and 8192: at least 4 draws each", 8191, 8, 8, 2},
  };
  const Numbers routing;
  for (const Case& c : cases) {
    CAPTURE(c.why);
    int priced = 0;
    ExpertPool pool(
        routing, [&priced](int, auto) { return double(++priced); }, 8, c.top_k, 3, 1, 8192);
    for (const std::uint64_t step : {0U, 1U, 2U}) {
      const double ns = pool.layers_ns(c.tokens, step);
      CHECK((ns > 0) == (c.tokens > 0));
    }
    CHECK(priced == c.draws);
    CHECK(pool.pools() == c.pools);
  }
}

TEST_CASE("a step takes neighbouring draws, one a layer, round the end") {
  // Price i + 1 of 64 draws; 3 layers from draw j: 3j + 6, wrapping after 64.
  const Numbers routing;
  int priced = 0;
  ExpertPool pool(
      routing, [&priced](int, auto) { return double(++priced); }, 8, 1, 3, 1, 64);
  std::vector<double> possible;
  for (int j = 0; j < 64; ++j) {
    double sum = 0;
    for (int layer = 0; layer < 3; ++layer) sum += (j + layer) % 64 + 1;
    possible.push_back(sum);
  }
  std::vector<double> seen = prices(pool, 1, 2000);
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  std::sort(possible.begin(), possible.end());
  possible.erase(std::unique(possible.begin(), possible.end()), possible.end());
  CHECK(seen == possible);  // every draw is used
}

TEST_CASE("more layers than draws go round more than once") {
  const Numbers routing;
  int priced = 0;
  ExpertPool pool(
      routing, [&priced](int, auto) { return double(++priced); }, 8, 8, 10, 1, 4096);
  // Four draws, priced 1 to 4: ten layers are two rounds and two more.
  for (const double ns : prices(pool, 4096, 50)) {
    CHECK((ns == 20 + 3 || ns == 20 + 5 || ns == 20 + 7));  // 1+2 or 4+1, 2+3, 3+4
  }
}

TEST_CASE("prices depend on seed, count and step only, not on who asked before") {
  const Numbers routing;
  const auto pool_of = [&](std::uint64_t seed) {
    return ExpertPool(routing, first_count, 8, 2, 5, seed, 4096);
  };
  ExpertPool a = pool_of(7), b = pool_of(7), other = pool_of(8);
  (void)b.layers_ns(3000, 17);
  (void)b.layers_ns(33, 4);
  for (const int tokens : {1, 33, 512, 700, 3000}) {
    CAPTURE(tokens);
    CHECK(prices(a, tokens, 100) == prices(b, tokens, 100));
    CHECK(prices(a, tokens, 100) != prices(other, tokens, 100));
  }
}

TEST_CASE("counts beyond the largest announced are served, too") {
  const Numbers routing;
  ExpertPool small(routing, first_count, 8, 2, 5, 1, 16);
  ExpertPool large(routing, first_count, 8, 2, 5, 1, 100'000);
  for (const int tokens : {16, 512, 513, 5000, 100'000}) {
    CHECK(prices(small, tokens, 20) == prices(large, tokens, 20));
  }
}

TEST_CASE("pools have the mean of exact draws, which is not the price of the mean") {
  struct Case {
    std::string why;
    ExpertPool::Price price;
    int experts, top_k, tokens;
    double expect;  // 0: by brute force
  };
  // E(1 - (1 - k/E)^T) experts are active.
  const Case cases[] = {
      {"active experts of 3 tokens, 2 of 8: 8 (1 - 0.75^3)", active_experts, 8, 2, 3, 4.625},
      {"of one token: exactly 2", active_experts, 8, 2, 1, 2},
      {"of 16 tokens, 8 of 128: 128 (1 - 0.9375^16)", active_experts, 128, 8, 16, 82.4246},
      {"the busiest expert of 4 tokens, 2 of 8; on average each has one", busiest_expert, 8, 2, 4,
       0},
      {"of 64 tokens, 8 of 128", busiest_expert, 128, 8, 64, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const double expect =
        c.expect > 0 ? c.expect : drawn_mean(c.price, c.experts, c.top_k, c.tokens, 20'000);
    CHECK(pool_mean(c.price, c.experts, c.top_k, c.tokens) ==
          doctest::Approx(expect).epsilon(0.01));
  }
  CHECK(pool_mean(busiest_expert, 8, 2, 4) > 2);
}

TEST_CASE("between two pools the straight line is within 1 % of exact draws, 2 % at worst") {
  // Rows padded to the tile and expert weights read, as a memory- or compute-bound kernel has them.
  // The worst counts are those where the rows of eight large experts cross a tile: a step, where
  // the line is straight.
  struct Case {
    std::string model;
    int tp;
  };
  for (const Case& c : {Case{"mistralai/Mixtral-8x7B-v0.1", 2}, Case{"Qwen/Qwen3-30B-A3B", 1}}) {
    const ModelSpec model = load_model(c.model, ".", {});
    const Shard shard = make_shard(model, {.tp = c.tp}, 0).shard;
    const LayerClass layers = layer_classes(shard).front();
    const auto family = make_family(model);
    const auto price = [&](int tokens, std::span<const std::uint32_t> counts) {
      const Op op = family->experts(shard, layers, tokens, counts);
      const double compute = op.flops / 6.5e14 * 1e9;
      return std::max(compute, (op.weight_bytes + op.activation_bytes) / 3.1e12 * 1e9);
    };
    const auto routing = made<ExpertRouting>("uniform");
    double error_sum = 0;
    int compared = 0;
    for (const int tokens : {528, 600, 784, 1000, 1056, 1500, 2112, 3000, 5000, 8000}) {
      CAPTURE(c.model);
      CAPTURE(tokens);
      const int experts = layers.spec.num_experts;
      const int top_k = layers.spec.top_k;
      double mean = 0;
      constexpr int kSeeds = 20;
      for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
        ExpertPool pool(*routing, price, experts, top_k, 1, seed, 8192);
        const std::vector<double> steps = prices(pool, tokens, 32);
        mean += std::accumulate(steps.begin(), steps.end(), 0.0) / (32.0 * kSeeds);
      }
      const double error = std::fabs(mean / drawn_mean(price, experts, top_k, tokens, 60) - 1);
      CHECK(error < 0.02);
      error_sum += error;
      ++compared;
    }
    CHECK(error_sum / compared < 0.01);
  }
}
