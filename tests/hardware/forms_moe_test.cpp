#include <algorithm>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "hardware/forms.h"
#include "sim/base/random.h"

namespace moesim {
namespace {

constexpr DeviceCeilings kDevice{.memory_bandwidth = 3e12,
                                 .peak = 9e14,
                                 .sms = 132,
                                 .l2_bytes = 5e7,
                                 .link_bandwidth = 4e11,
                                 .nic_bandwidth = 5e10};

std::vector<double> start_of(const Form& form) {
  std::vector<double> c;
  for (const Coefficient& one : form.coefficients) c.push_back(one.start);
  return c;
}

/// A layer whose experts have `loads` pairs.
KernelShape layer(const std::vector<int>& loads, double tokens) {
  KernelShape s;
  s.weight_bytes = 2;
  s.tokens = tokens;
  s.topk = 4;
  s.hidden = 3072;
  s.inter = 1280;
  s.experts = static_cast<double>(loads.size());
  s.total_experts = s.experts;
  for (const int n : loads) {
    s.pairs += n;
    s.active += n > 0 ? 1 : 0;
    s.above_64 += std::max(0, n - 64);
    s.above_256 += std::max(0, n - 256);
  }
  return s;
}

TEST_CASE("moe form: one more pair on any expert never makes the block faster") {
  const Form& form = *find_form("moe");
  Rng random(1, "moe form");
  for (int round = 0; round < 300; ++round) {
    std::vector<double> c;
    for (const Coefficient& one : form.coefficients)
      c.push_back(one.low + (one.high - one.low) * random.uniform());
    std::vector<int> loads(1 + random.below(64));
    for (int& n : loads) n = random.below(3) == 0 ? 0 : static_cast<int>(random.below(600));
    const double tokens = 1 + random.below(2000);
    const double before = form.seconds(layer(loads, tokens), c, kDevice);
    ++loads[random.below(static_cast<std::uint32_t>(loads.size()))];
    const double after = form.seconds(layer(loads, tokens), c, kDevice);
    CHECK(after >= before * (1 - 1e-12));
    CHECK(form.seconds(layer(loads, tokens + 1), c, kDevice) >= after * (1 - 1e-12));
  }
}

TEST_CASE("moe form: never faster than its weights stream or its pairs multiply") {
  const Form& form = *find_form("moe");
  const std::vector<double> c = start_of(form);
  for (const int n : {1, 8, 64, 200, 256, 1000, 20000}) {
    const KernelShape s = layer(std::vector<int>(32, n), 8.0 * n);
    const double elements = 3 * s.hidden * s.inter;
    const double time = form.seconds(s, c, kDevice);
    CHECK(time > 0.95 * s.active * elements * 2 / kDevice.memory_bandwidth);
    CHECK(time > 2 * s.pairs * elements / kDevice.peak);
  }
}

TEST_CASE("moe form: experts of other ranks cost their sorting and nothing else") {
  const Form& form = *find_form("moe");
  const std::vector<double> c = start_of(form);
  KernelShape here = layer({3, 0, 5, 1}, 9), everywhere = here;
  everywhere.total_experts += 100;
  const auto sort = std::ranges::find(form.coefficients, std::string("sort_us"),
                                      [](const Coefficient& one) { return std::string(one.name); });
  REQUIRE(sort != form.coefficients.end());
  const double sorting = form.seconds(everywhere, c, kDevice) - form.seconds(here, c, kDevice);
  CHECK(sorting == doctest::Approx(100 * sort->start * 1e-6));
}

TEST_CASE("moe form: equal pairs cost more where they pile up on few experts") {
  const Form& form = *find_form("moe");
  const std::vector<double> c = start_of(form);
  std::vector<int> even(16, 128), skewed(16, 8);
  skewed[0] = 128 * 16 - 8 * 15;
  CHECK(form.seconds(layer(skewed, 2048), c, kDevice) >
        1.1 * form.seconds(layer(even, 2048), c, kDevice));
}

TEST_CASE("moe form: without L2 a small layer streams from memory") {
  const Form& form = *find_form("moe");
  const std::vector<double> c = start_of(form);
  DeviceCeilings cold = kDevice;
  cold.l2_bytes = 0;
  const KernelShape small = layer({1}, 1);
  CHECK(form.seconds(small, c, cold) > form.seconds(small, c, kDevice));
  const KernelShape large = layer(std::vector<int>(64, 1), 64);
  CHECK(form.seconds(large, c, cold) ==
        doctest::Approx(form.seconds(large, c, kDevice)).epsilon(1e-3));
}

TEST_CASE("moe form: time is continuous in tokens but for the tile step") {
  const Form& form = *find_form("moe");
  const std::vector<double> c = start_of(form);
  double last = 0;
  for (int n = 20; n < 600; ++n) {
    const double time = form.seconds(layer(std::vector<int>(16, n), 4.0 * n), c, kDevice);
    if (last > 0) CHECK(time < 1.05 * last);
    last = time;
  }
}

}  // namespace
}  // namespace moesim
