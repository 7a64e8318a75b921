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
  [[nodiscard]] RoutingTable table(const RoutingShape&, const TableSize&, std::uint64_t,
                                   std::uint64_t) const override {
    return {};
  }
  [[nodiscard]] bool exchangeable() const override { return true; }
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
    ExpertPool pool(*routing, price, experts, top_k, kLayers, seed);
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

TEST_CASE("a pool is made once per token count, of more draws where they vary") {
  struct Case {
    std::string why;
    int tokens;
    double spread;  // of prices, relative
    int draws, pools;
  };
  // 64 draws do when sigma / 8 is within 0.4 % of the mean; then 128, 256 and 512 are tried.
  const Case cases[] = {
      {"no tokens, no work", 0, 0.5, 0, 0},
      {"alike prices", 1, 0, 64, 1},
      {"3 % are within 8 x 0.4 %", 16, 0.03, 64, 1},
      {"4 % need 128", 16, 0.04, 64 + 128, 1},
      {"50 % need more than 512", 16, 0.5, 64 + 128 + 256 + 512, 1},
      {"half of 2^15 / (2 x 64) blocks is the most for 64 tokens", 64, 0.5, 64 + 128, 1},
      {"512 is a pool of its own", 512, 0.5, 64, 1},
      {"513 lies between the pools of 512 and 544", 513, 0.5, 128, 2},
      {"1024 is a pool again", 1024, 0.5, 64, 1},
      {"8191 lies between 7936 and 8192", 8191, 0.5, 128, 2},
  };
  const Numbers routing;
  for (const Case& c : cases) {
    CAPTURE(c.why);
    int priced = 0;
    const auto price = [&](int, auto) { return ++priced % 2 == 0 ? 1 + c.spread : 1 - c.spread; };
    ExpertPool pool(routing, price, 8, 2, 3, 1);
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
      routing, [&priced](int, auto) { return double(++priced); }, 8, 1, 3, 1);
  std::vector<double> possible;
  for (int j = 0; j < 64; ++j) {
    double sum = 0;
    for (int layer = 0; layer < 3; ++layer) sum += (j + layer) % 64 + 1;
    possible.push_back(sum);
  }
  std::vector<double> seen = prices(pool, 512, 2000);
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  std::sort(possible.begin(), possible.end());
  possible.erase(std::unique(possible.begin(), possible.end()), possible.end());
  CHECK(seen == possible);  // every draw is used
}

TEST_CASE("layers come in runs of eight, each with a start of its own") {
  // Prices 1 to 64. 100 layers are twelve runs of 8 and one of 4, more than one hash has starts
  // for.
  const Numbers routing;
  int priced = 0;
  ExpertPool pool(
      routing, [&priced](int, auto) { return double(++priced); }, 8, 1, 100, 1);
  const auto run_sum = [](int start, int n) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += (start + i) % 64 + 1;
    return sum;
  };
  const auto variance_of_run = [&](int n) {
    double squares = 0;
    for (int start = 0; start < 64; ++start) squares += std::pow(run_sum(start, n) - 32.5 * n, 2);
    return squares / 64;
  };
  const std::vector<double> seen = prices(pool, 512, 20'000);
  const double mean = std::accumulate(seen.begin(), seen.end(), 0.0) / 20'000;
  double variance = 0;
  for (const double ns : seen) variance += (ns - mean) * (ns - mean) / 20'000;
  CHECK(mean == doctest::Approx(3250).epsilon(0.005));
  CHECK(variance == doctest::Approx(12 * variance_of_run(8) + variance_of_run(4)).epsilon(0.05));
}

TEST_CASE("prices depend on seed, count and step only, not on who asked before") {
  const Numbers routing;
  const auto pool_of = [&](std::uint64_t seed) {
    return ExpertPool(routing, first_count, 8, 2, 5, seed);
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

TEST_CASE("the table of pools grows as counts do, in any order") {
  const Numbers routing;
  ExpertPool up(routing, first_count, 8, 2, 5, 1);
  ExpertPool down(routing, first_count, 8, 2, 5, 1);
  std::vector<int> counts{16, 512, 513, 5000, 100'000};
  std::vector<std::vector<double>> upwards;
  for (const int tokens : counts) upwards.push_back(prices(up, tokens, 20));
  for (std::size_t i = counts.size(); i-- > 0;) CHECK(prices(down, counts[i], 20) == upwards[i]);
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
          doctest::Approx(expect).epsilon(0.004));
  }
  CHECK(pool_mean(busiest_expert, 8, 2, 4) > 2);
}

namespace {

struct Moments {
  double mean, std;
};
Moments moments(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / n)};
}

}  // namespace

TEST_CASE("a step's expert time has the mean and the spread of drawing every layer afresh") {
  // 48 layers of 128 experts, 8 a token; the busiest expert, as where experts are spread over GPUs,
  // varies most. 600 and 2200 lie between two pools. One run sees one pool per count: the mean of
  // single seeds may be off by the error of its draws, and the spread within a run is a little
  // narrower since a run of eight takes eight of the 64 or more.
  constexpr int kExperts = 128, kTopK = 8, kLayers = 48, kSeeds = 40, kSteps = 200;
  const auto routing = made<ExpertRouting>("uniform");
  for (const int tokens : {1, 16, 100, 255, 511, 600, 1024, 2200}) {
    CAPTURE(tokens);
    std::vector<std::uint32_t> counts(kExperts);
    Rng rng(99, "brute force");
    std::vector<double> drawn;
    for (int i = 0; i < 4000 * 100 / (100 + tokens); ++i) {
      routing->draw(0, tokens, kTopK, rng, counts);
      drawn.push_back(busiest_expert(tokens, counts) + active_experts(tokens, counts));
    }
    const Moments layer = moments(drawn);
    std::vector<double> within, means;
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      const auto both = [](int t, std::span<const std::uint32_t> c) {
        return busiest_expert(t, c) + active_experts(t, c);
      };
      ExpertPool pool(*routing, both, kExperts, kTopK, kLayers, seed);
      const Moments run = moments(prices(pool, tokens, kSteps));
      means.push_back(run.mean);
      within.push_back(run.std);
    }
    const double expected_std = layer.std * std::sqrt(double(kLayers));
    const Moments mean = moments(means);
    const double spread = moments(within).mean;
    CHECK(mean.mean == doctest::Approx(layer.mean * kLayers).epsilon(0.003));
    CHECK(mean.std < 0.005 * mean.mean);
    if (tokens == 1) continue;  // every layer alike
    CHECK(spread > 0.8 * expected_std);
    CHECK(spread < 1.05 * expected_std);
  }
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
        ExpertPool pool(*routing, price, experts, top_k, 1, seed);
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
