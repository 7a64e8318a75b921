#include <cmath>
#include <doctest/doctest.h>

#include "hardware/forms.h"
#include "hardware/stream_bytes.h"
#include "sim/base/random.h"

using namespace moesim;

namespace {

const DeviceCeilings kDevice{
    .memory_bandwidth = 3e12, .peak = 1e15, .sms = 132, .l2_bytes = 5e7, .link_bandwidth = 450e9};

KernelShape rows_of(double rows, double row_bytes) {
  KernelShape s;
  s.rows = rows;
  s.bytes = rows * row_bytes;
  return s;
}

}  // namespace

TEST_CASE("an element-wise kernel takes longer with rows and with wider rows") {
  const Form& form = *find_form("stream");
  Rng random(1, "forms");
  for (int i = 0; i < 1000; ++i) {
    std::vector<double> c;
    for (const Coefficient& k : form.coefficients)
      c.push_back(k.low * std::pow(k.high / k.low, random.uniform()));
    const double rows = std::exp2(15 * random.uniform());
    const double width = std::exp2(8 + 10 * random.uniform());
    const double base = form.seconds(rows_of(rows, width), c, kDevice);
    CHECK(std::isfinite(base));
    CHECK(form.seconds(rows_of(rows * 1.2, width), c, kDevice) >= base);
    CHECK(form.seconds(rows_of(rows, width * 1.2), c, kDevice) >= base);
    // Leaving the L2 costs more than its share, up to the ratio of the two rates, but gradually.
    CHECK(form.seconds(rows_of(rows * 1.001, width), c, kDevice) <= 1.005 * base);
  }
}

TEST_CASE("far beyond the L2 the memory's rate bounds it, within the L2 it does not") {
  const Form& form = *find_form("stream");
  std::vector<double> c;
  for (const Coefficient& k : form.coefficients) c.push_back(k.low);
  c[1] = 1.05;  // bandwidth
  c[2] = 12;    // l2_gain
  c[3] = 0.5;   // l2_part
  c[6] = 32;    // blocks_per_sm
  const KernelShape large = rows_of(1e6, 8192);
  CHECK(large.bytes / form.seconds(large, c, kDevice) < 1.06 * kDevice.memory_bandwidth);
  const KernelShape small = rows_of(2000, 8192);
  CHECK(small.bytes / form.seconds(small, c, kDevice) > 2 * kDevice.memory_bandwidth);
}

TEST_CASE("bytes per row count every tensor once") {
  CHECK(norm_bytes(100) == 400);
  CHECK(add_norm_bytes(100) == 800);
  CHECK(gated_bytes(100) == 600);
  CHECK(quantize_bytes(100) == 300);
}
