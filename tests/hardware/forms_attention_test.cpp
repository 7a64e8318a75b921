#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <functional>
#include <random>

#include "hardware/attention.h"
#include "hardware/forms.h"

namespace moesim {
namespace {

constexpr int kRounds = 3000;

class Dice {
 public:
  double between(double low, double high) {
    return low * std::pow(high / low, std::uniform_real_distribution<>(0, 1)(engine_));
  }
  double whole(double low, double high) { return std::floor(between(low, high + 0.99)); }

 private:
  std::mt19937 engine_{7};
};

DeviceCeilings device() {
  DeviceCeilings d;
  d.memory_bandwidth = 3e12;
  d.peak = 9e14;
  d.sms = 120;
  d.l2_bytes = 5e7;
  return d;
}

std::vector<double> any_coefficients(const Form& form, Dice& dice) {
  std::vector<double> c;
  for (const Coefficient& each : form.coefficients) c.push_back(dice.between(each.low, each.high));
  return c;
}

/// `batch` sequences of `queries` tokens over `past` cached ones.
KernelShape shape_of(KernelShape s, double batch, double queries, double past) {
  s.batch = batch;
  s.queries = batch * queries;
  s.kv_tokens = batch * visible_keys(queries, past, s.window);
  s.pairs_qk = batch * visible_pairs(queries, past, s.window);
  s.longest = longest_row(queries, past, s.window);
  return s;
}

KernelShape any_heads(Dice& dice, bool latent) {
  KernelShape s;
  s.kv_heads = latent ? 1 : dice.whole(1, 16);
  s.heads = s.kv_heads * dice.whole(1, latent ? 128 : 16);
  s.head_dim = latent ? 576 : 64 * dice.whole(1, 4);
  s.window = !latent && dice.between(1, 8) > 5 ? 128 : 0;
  s.kv_bytes = dice.between(1, 8) > 4 ? 1 : 2;
  return s;
}

bool less_or_same(double a, double b) {
  return a <= b * (1 + 1e-9);
}

TEST_CASE("decode: never cheaper with more context, more sequences or a longer sequence") {
  Dice dice;
  for (const char* name : {"attention_decode", "mla_decode"}) {
    const Form& form = *find_form(name);
    for (int round = 0; round < kRounds; ++round) {
      const std::vector<double> c = any_coefficients(form, dice);
      const KernelShape heads = any_heads(dice, form.name == std::string("mla_decode"));
      const double batch = dice.whole(1, 1000), past = dice.whole(1, 100000);
      const auto time = [&](const KernelShape& s) { return form.seconds(s, c, device()); };
      const KernelShape base = shape_of(heads, batch, 1, past);
      REQUIRE(time(base) > 0);
      CHECK(less_or_same(time(base), time(shape_of(heads, batch, 1, past * 1.3))));
      CHECK(less_or_same(time(base), time(shape_of(heads, batch + 1, 1, past))));
      KernelShape uneven = base;
      uneven.longest *= 3;
      CHECK(less_or_same(time(base), time(uneven)));
      // One more sequence of one key among long ones.
      KernelShape joined = base;
      joined.batch += 1;
      joined.queries += 1;
      joined.kv_tokens += 1;
      joined.pairs_qk += 1;
      CHECK(less_or_same(time(base), time(joined)));
    }
  }
}

TEST_CASE(
    "decode: a step that finds nothing in L2 is no faster, and reads from HBM at most at full "
    "speed") {
  Dice dice;
  for (const char* name : {"attention_decode", "mla_decode"}) {
    const bool latent = name == std::string("mla_decode");
    const Form& form = *find_form(name);
    for (int round = 0; round < kRounds; ++round) {
      const std::vector<double> c = any_coefficients(form, dice);
      const KernelShape s =
          shape_of(any_heads(dice, latent), dice.whole(1, 500), 1, dice.whole(1, 50000));
      DeviceCeilings cold = device();
      cold.cold = true;
      const double bytes = s.kv_tokens * s.kv_heads * s.head_dim * s.kv_bytes * (latent ? 1 : 2);
      CHECK(form.seconds(s, c, cold) >= bytes / cold.memory_bandwidth);
      CHECK(less_or_same(form.seconds(s, c, device()), form.seconds(s, c, cold)));
    }
  }
}

TEST_CASE(
    "prefill: never cheaper with more queries, a longer prefix, or sequences that decode along") {
  Dice dice;
  for (const char* name : {"attention_prefill", "mla_prefill"}) {
    const Form& form = *find_form(name);
    for (int round = 0; round < kRounds; ++round) {
      const std::vector<double> c = any_coefficients(form, dice);
      const KernelShape heads = any_heads(dice, false);
      const double batch = dice.whole(1, 64), queries = dice.whole(1, 4000);
      const double past = dice.whole(1, 30000) - 1;
      const auto time = [&](const KernelShape& s) { return form.seconds(s, c, device()); };
      const KernelShape base = shape_of(heads, batch, queries, past);
      REQUIRE(time(base) > 0);
      CHECK(less_or_same(time(base), time(shape_of(heads, batch, queries + 1, past))));
      CHECK(less_or_same(time(base), time(shape_of(heads, batch, queries * 2, past))));
      CHECK(less_or_same(time(base), time(shape_of(heads, batch, queries, past + 1000))));
      CHECK(less_or_same(time(base), time(shape_of(heads, batch + 1, queries, past))));
      if (form.name != std::string("attention_prefill")) continue;
      KernelShape mixed = base;
      mixed.decodes = dice.whole(1, 200);
      mixed.decode_tokens = mixed.decodes * dice.whole(1, 3000);
      CHECK(less_or_same(time(base), time(mixed)));
      KernelShape more = mixed;
      more.decode_tokens *= 2;
      CHECK(less_or_same(time(mixed), time(more)));
      if (heads.window > 0) continue;  // contexts there are cut at the window
      KernelShape uneven = mixed;
      uneven.decode_longest = 3 * mixed.decode_tokens / mixed.decodes;
      uneven.longest = std::max(uneven.longest, uneven.decode_longest);
      CHECK(less_or_same(time(mixed), time(uneven)));
    }
  }
}

TEST_CASE("prefill: not above the peak, and a prefix costs what its pairs cost") {
  Dice dice;
  const Form& form = *find_form("attention_prefill");
  std::vector<double> c;
  for (const Coefficient& each : form.coefficients) c.push_back(each.start);
  for (int round = 0; round < kRounds; ++round) {
    const KernelShape s =
        shape_of(any_heads(dice, false), 1, dice.whole(1, 4000), dice.whole(1, 30000));
    const double flops = 4 * s.heads * s.head_dim * s.pairs_qk;
    CHECK(form.seconds(s, any_coefficients(form, dice), device()) >= flops / device().peak);
  }
  KernelShape heads;
  heads.heads = 32;
  heads.kv_heads = 8;
  heads.head_dim = 128;
  // 2048 tokens over 30k cost about as much as a whole prompt with as many pairs.
  const KernelShape chunk = shape_of(heads, 1, 2048, 30000);
  const KernelShape prompt = shape_of(heads, 1, std::sqrt(2 * chunk.pairs_qk), 0);
  const double ratio = form.seconds(chunk, c, device()) / form.seconds(prompt, c, device());
  CHECK(ratio > 0.8);
  CHECK(ratio < 1.5);
}

TEST_CASE("decode: the longest context ends alone where keys are not split, a time for every key") {
  const Form& form = *find_form("attention_decode");
  std::vector<double> c;
  for (const Coefficient& each : form.coefficients) c.push_back(each.start);
  c[3] = 0.001;  // no chain: what is left of the longest context is the tail
  c[10] = 0;     // nor a merge
  struct Case {
    const char* why;
    double batch, kv_heads, expect_us;
  };
  // 120 SMs: whole contexts from 0.8 x 2 x 120 = 192 CTAs on. 4 us: 4000 keys beyond the mean.
  const Case cases[] = {{"191 CTAs: split", 191, 1, 0},
                        {"192 CTAs: whole", 192, 1, 4},
                        {"24 sequences of 8 KV heads", 24, 8, 4},
                        {"far more than a wave", 500, 8, 4}};
  for (const Case& each : cases) {
    CAPTURE(each.why);
    KernelShape heads;
    heads.kv_heads = each.kv_heads;
    heads.heads = 8 * each.kv_heads;
    heads.head_dim = 128;
    const KernelShape even = shape_of(heads, each.batch, 1, 999);
    KernelShape uneven = even;
    uneven.longest = 5000;
    CHECK_FALSE(has_uneven_contexts(even));
    CHECK(has_uneven_contexts(uneven));
    const double more = form.seconds(uneven, c, device()) - form.seconds(even, c, device());
    CHECK(more * 1e6 == doctest::Approx(each.expect_us).epsilon(1e-3));
  }
}

TEST_CASE("a lone decoding sequence hides beside a chunk as long as its chain of keys is shorter") {
  const Form& form = *find_form("attention_prefill");
  std::vector<double> c;
  for (const Coefficient& each : form.coefficients) c.push_back(each.start);
  KernelShape heads;
  heads.heads = 32;
  heads.kv_heads = 8;
  heads.head_dim = 128;
  const KernelShape chunk = shape_of(heads, 1, 2048, 4096);
  KernelShape mixed = chunk;
  mixed.decodes = 1;
  mixed.decode_tokens = 4096;
  CHECK(form.seconds(mixed, c, device()) < 1.05 * form.seconds(chunk, c, device()));
  mixed.decode_tokens = mixed.longest = 100000;
  CHECK(form.seconds(mixed, c, device()) > 2 * form.seconds(chunk, c, device()));
}

TEST_CASE("absorbed products: monotone in tokens and heads, weights at HBM speed when cold") {
  Dice dice;
  const Form& form = *find_form("mla_product");
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<double> c = any_coefficients(form, dice);
    KernelShape s;
    s.m = dice.whole(1, 20000);
    s.heads = dice.whole(1, 128);
    s.n = 512;
    s.k = 128;
    s.weight_bytes = 2;
    const double base = form.seconds(s, c, device());
    KernelShape longer = s;
    longer.m += 1;
    CHECK(less_or_same(base, form.seconds(longer, c, device())));
    KernelShape wider = s;
    wider.heads += 1;
    CHECK(less_or_same(base, form.seconds(wider, c, device())));
    DeviceCeilings cold = device();
    cold.cold = true;
    CHECK(form.seconds(s, c, cold) >= s.heads * s.n * s.k * 2 / cold.memory_bandwidth);
  }
}

}  // namespace
}  // namespace moesim
