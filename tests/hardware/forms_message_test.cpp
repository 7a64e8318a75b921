#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

#include "hardware/expert_traffic.h"
#include "hardware/forms.h"
#include "sim/base/random.h"

using namespace moesim;

namespace {

const DeviceCeilings kDevice{.memory_bandwidth = 3e12,
                             .peak = 1e15,
                             .sms = 132,
                             .l2_bytes = 5e7,
                             .link_bandwidth = 450e9,
                             .nic_bandwidth = 50e9};

std::vector<double> random_coefficients(const Form& form, Rng& random) {
  std::vector<double> c;
  for (const Coefficient& k : form.coefficients)
    c.push_back(k.low * std::pow(k.high / k.low, random.uniform()));
  return c;
}

KernelShape expert_shape(double tokens, double topk, double nodes, bool low_latency) {
  const ExpertTraffic t =
      expected_traffic({.ranks = 8 * nodes, .nodes = nodes, .experts = 256, .topk = topk});
  KernelShape s;
  s.tokens = tokens;
  s.topk = topk;
  s.hidden = 4096;
  s.total_experts = 256;
  s.gpus = 8 * nodes;
  s.nodes = nodes;
  s.sms = 20;
  const double bytes = tokens * fp8_token_bytes(s.hidden);
  s.bytes = bytes * (low_latency ? t.to_experts : t.to_ranks);
  s.nic_bytes = bytes * (low_latency ? t.to_experts_outside : t.to_nodes);
  return s;
}

}  // namespace

TEST_CASE("a message takes longer with bytes and ranks, whatever the coefficients") {
  const Form& form = *find_form("message");
  Rng random(1, "forms");
  for (int i = 0; i < 500; ++i) {
    const std::vector<double> c = random_coefficients(form, random);
    KernelShape s;
    s.gpus = 2 + std::floor(70 * random.uniform());
    s.bytes = std::exp2(8 + 24 * random.uniform());
    const double base = form.seconds(s, c, kDevice);
    CHECK(base > 0);
    KernelShape more = s;
    more.bytes *= 1.1;
    CHECK(form.seconds(more, c, kDevice) > base);
    more = s;
    more.gpus += 1;
    CHECK(form.seconds(more, c, kDevice) >= base);
  }
}

TEST_CASE("a message never beats 105 % of its link") {
  const Form& form = *find_form("message");
  std::vector<double> c;
  for (const Coefficient& k : form.coefficients) c.push_back(k.low);
  c[3] = form.coefficients[3].high;
  KernelShape s;
  s.gpus = 8;
  s.bytes = 1e9;
  const double sent = s.bytes * 7 / 8;
  CHECK(sent / form.seconds(s, c, kDevice) < 1.05 * kDevice.link_bandwidth);
  s.gpus = 16;
  s.nodes = 2;
  const double leaves = s.bytes / 2 / 8;  // of every GPU's NIC
  CHECK(leaves / form.seconds(s, c, kDevice) < 1.05 * kDevice.nic_bandwidth);
}

TEST_CASE("sizes beyond the tables' are held to what is known at their ends") {
  const Form& form = *find_form("message");
  KernelShape s;
  s.gpus = 8;
  s.bytes = 1e12;
  CHECK(form.coordinates(s)[0] == 28);
  s.bytes = 4;
  CHECK(form.coordinates(s)[0] == 9);
}

TEST_CASE("dispatch takes longer with tokens and experts per token") {
  for (const bool low_latency : {false, true}) {
    const Form& form = *find_form(low_latency ? "deepep_ll" : "deepep");
    Rng random(2, "forms");
    for (int i = 0; i < 500; ++i) {
      const std::vector<double> c = random_coefficients(form, random);
      const double tokens = std::exp2(12 * random.uniform());
      const double topk = 1 + std::floor(8 * random.uniform());
      const double nodes = std::exp2(std::floor(4 * random.uniform()));
      const double base = form.seconds(expert_shape(tokens, topk, nodes, low_latency), c, kDevice);
      CHECK(std::isfinite(base));
      CHECK(form.seconds(expert_shape(tokens * 1.3, topk, nodes, low_latency), c, kDevice) > base);
      CHECK(form.seconds(expert_shape(tokens, topk + 1, nodes, low_latency), c, kDevice) >= base);
    }
  }
}

TEST_CASE("more SMs never slow normal dispatch, and few experts leave SMs idle") {
  const Form& normal = *find_form("deepep");
  const Form& low_latency = *find_form("deepep_ll");
  Rng random(3, "forms");
  for (int i = 0; i < 200; ++i) {
    KernelShape s = expert_shape(512, 2, 1, false);
    const std::vector<double> c = random_coefficients(normal, random);
    const double with_20 = normal.seconds(s, c, kDevice);
    s.sms = 24;
    CHECK(normal.seconds(s, c, kDevice) <= with_20);

    std::vector<double> k = random_coefficients(low_latency, random);
    k[7] = low_latency.coefficients[7].low;  // polling experts costs next to nothing
    KernelShape few = expert_shape(512, 2, 1, true);
    const double with_256 = low_latency.seconds(few, k, kDevice);
    few.total_experts = 8;
    CHECK(low_latency.seconds(few, k, kDevice) >= with_256 - 3e-7);
  }
}
