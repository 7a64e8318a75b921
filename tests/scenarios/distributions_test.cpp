#include "scenarios/distributions.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

#include "sim/base/diagnostic.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

using Kind = Distribution::Kind;

double value(const Distribution& distribution, Rng& rng) {
  return Sampler(distribution).value(rng);
}
std::uint32_t count(const Distribution& distribution, Rng& rng) {
  return Sampler(distribution).count(rng);
}

struct Sample {
  double mean = 0, p99 = 0, min = 0, max = 0;
};

Sample sample(const Distribution& distribution, int draws) {
  Rng rng(7, "test");
  const Sampler sampler(distribution);
  std::vector<double> values;
  for (int i = 0; i < draws; ++i) values.push_back(sampler.count(rng));
  std::ranges::sort(values);
  double sum = 0;
  for (const double x : values) sum += x;
  return {sum / draws, values[static_cast<std::size_t>(draws) * 99 / 100], values.front(),
          values.back()};
}

TEST_CASE("a lognormal has the mean and the 99th percentile it was asked for") {
  struct Case {
    double mean, p99;
  };
  for (const Case& c : {Case{1154.7, 4142}, Case{211.1, 601}, Case{12035, 85401}, Case{500, 510}}) {
    CAPTURE(c.mean);
    const Sample drawn = sample({Kind::kLognormal, c.mean, c.p99, 0, 0, {}}, 1'000'000);
    CHECK(drawn.mean == doctest::Approx(c.mean).epsilon(0.01));
    CHECK(drawn.p99 == doctest::Approx(c.p99).epsilon(0.02));
  }
}

TEST_CASE("sigma solves both equations, and only where they have a solution") {
  const double sigma = *lognormal_sigma(100, 400);
  const double mu = std::log(100.0) - sigma * sigma / 2;
  CHECK(std::exp(mu + 2.3263478740408408 * sigma) == doctest::Approx(400));
  CHECK(*lognormal_sigma(5, 5) == doctest::Approx(0));
  CHECK(*lognormal_sigma(1, 14.96) < 2.3264);
  CHECK_FALSE(lognormal_sigma(1, 15).has_value());
  CHECK_FALSE(lognormal_sigma(10, 9).has_value());
  CHECK_FALSE(lognormal_sigma(0, 9).has_value());
}

TEST_CASE("a uniform count has both ends, each value as likely") {
  Rng rng(3, "test");
  std::vector<int> counts(6, 0);
  for (int i = 0; i < 60000; ++i) ++counts.at(count({Kind::kUniform, 3, 5, 0, 0, {}}, rng));
  for (int value = 3; value <= 5; ++value)
    CHECK(std::abs(counts[static_cast<std::size_t>(value)] - 20000) < 600);
}

TEST_CASE("a uniform time is anything between its ends") {
  Rng rng(3, "test");
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const double x = value({Kind::kUniform, 0.5, 1.5, 0, 0, {}}, rng);
    CHECK((x >= 0.5 && x < 1.5));
    sum += x;
  }
  CHECK(sum / 10000 == doctest::Approx(1).epsilon(0.01));
}

TEST_CASE("a normal is clipped to its limits") {
  const Sample drawn = sample({Kind::kNormal, 100, 20, 90, 130, {}}, 100'000);
  CHECK(drawn.min == 90);
  CHECK(drawn.max == 130);
  const Sample free = sample({Kind::kNormal, 100, 20, 1, 1e7, {}}, 100'000);
  CHECK(free.mean == doctest::Approx(100).epsilon(0.01));
  CHECK(free.p99 == doctest::Approx(146.5).epsilon(0.01));
}

TEST_CASE("measured values are drawn as they are, a fixed value draws nothing") {
  const Sample drawn = sample({Kind::kEmpirical, 0, 0, 0, 0, {10, 20, 60}}, 30'000);
  CHECK(drawn.mean == doctest::Approx(30).epsilon(0.02));
  CHECK(drawn.max == 60);
  Rng rng(1, "test");
  Rng same(1, "test");
  CHECK(count({Kind::kFixed, 42, 0, 0, 0, {}}, rng) == 42);
  CHECK(rng.next() == same.next());
}

TEST_CASE("a count is at least what it must be") {
  Rng rng(1, "test");
  CHECK(count({Kind::kFixed, 0, 0, 0, 0, {}}, rng) == 1);
  CHECK(count({Kind::kFixed, 1e300, 0, 0, 0, {}}, rng) == 1U << 30);
}

TEST_CASE("samples come one a line or as a column of a CSV") {
  const TempFolder folder;
  CHECK(read_samples(folder.write("a", "10\n20.5\r\n30"), "input_tokens") ==
        std::vector<double>{10, 20.5, 30});
  CHECK(read_samples(folder.write("b", "x,output_tokens\n1,7\n2,8\n"), "output_tokens") ==
        std::vector<double>{7, 8});
  CHECK(read_samples(folder.write("c", "request_id,prompt_tokens\n0,9\n"), "input_tokens") ==
        std::vector<double>{9});
  CHECK(read_samples(folder.write("d", "length\n9\n"), "input_tokens") == std::vector<double>{9});
}

TEST_CASE("a bad file of samples is refused with its line") {
  const TempFolder folder;
  const auto first = [&](const std::string& text) -> Diagnostic {
    try {
      static_cast<void>(read_samples(folder.write("bad", text), "input_tokens"));
    } catch (const InputError& error) {
      return error.diagnostics()[0];
    }
    return {};
  };
  CHECK(first("").problem == "the file holds no values");
  CHECK(first("a,b\n1,2\n").problem == "no column 'input_tokens'");
  CHECK(first("10\nmany\n").where.line == 2);
  CHECK(first("10\nnan\n").where.line == 2);
  CHECK(first("a,input_tokens\n1\n").where.line == 2);
}

TEST_CASE("a distribution of each kind can be written in a scenario") {
  const TempFolder folder;
  const std::string file = folder.write("lengths.csv", "prompt_tokens\n5\n7\n").string();
  const auto read = [](const std::string& text) {
    return load_text(with_line(17, "    input_tokens: " + text)).workload.synthetic.input_tokens;
  };
  CHECK(read("7").a == 7);
  CHECK(read("{uniform: [1, 9]}").b == 9);
  CHECK(read("{lognormal: {mean: 10, p99: 30}}").kind == Kind::kLognormal);
  const Distribution normal = read("{normal: {mean: 10, std: 2}}");
  CHECK(normal.min == 1);
  CHECK(normal.max == 1e7);
  CHECK(read("{empirical: " + file + "}").samples == std::vector<double>{5, 7});
}

}  // namespace
}  // namespace moesim
