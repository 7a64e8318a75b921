#include "hardware/profile_physics.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <functional>

#include "hardware/attention.h"
#include "hardware/dtypes.h"
#include "hardware/expert_traffic.h"
#include "hardware/kernel_floor.h"

namespace moesim {

namespace {

constexpr double kMostFall = 0.15, kMostJump = 0.15;
constexpr double kFactor = 2;  ///< KernelCurve::at lets a table correct its form by this
constexpr double kMostSpread = 1, kMostLeftOut = 0.15;

/// Sizes of one kernel while one of them doubles from `first` to `last`.
struct Sweep {
  std::string what;  ///< "tokens at hidden 2048"
  double first, last;
  std::function<KernelShape(double)> shape;
  bool tokens = false;  ///< counted in tokens: the next one costs about as much
};

KernelShape with_format(const KernelCurve& curve) {
  KernelShape s;
  s.weight_bytes = weight_bytes_of(curve.dtype);
  s.input_bytes = input_bytes_of(curve.dtype);
  const std::size_t slash = curve.dtype.find('/');
  const double cached =
      weight_bytes_of(slash == std::string::npos ? curve.dtype : curve.dtype.substr(slash + 1));
  s.kv_bytes = cached > 0 ? cached : 2;
  return s;
}

void set_batch(KernelShape& s, double batch, double queries, double past) {
  s.batch = batch;
  s.queries = batch * queries;
  s.kv_tokens = batch * visible_keys(queries, past, 0);
  s.pairs_qk = batch * visible_pairs(queries, past, 0);
  s.longest = longest_row(queries, past, 0);
}

/// Tokens that choose experts evenly: how many experts are met, and rows beyond the first ones.
void set_routed(KernelShape& s, double tokens) {
  s.tokens = tokens;
  s.pairs = tokens * s.topk;
  s.active = s.experts * (1 - std::pow(1 - s.topk / s.experts, tokens));
  s.above_64 = std::max(0.0, s.pairs - 64 * s.active);
  s.above_256 = std::max(0.0, s.pairs - 256 * s.active);
}

void add_gemm(const KernelShape& base, std::vector<Sweep>& out) {
  for (const auto& [n, k] : {std::pair(1024.0, 7168.0), {4096.0, 4096.0}, {28672.0, 4096.0}}) {
    KernelShape s = base;
    s.n = n;
    s.k = k;
    out.push_back({fmt::format("m at n {} k {}", n, k), 1, 16384,
                   [s](double m) {
                     KernelShape one = s;
                     one.m = m;
                     return one;
                   },
                   true});
  }
}

void add_moe(const KernelShape& base, std::vector<Sweep>& out) {
  // Qwen3-30B-A3B, Mixtral-8x7B, DeepSeek-V3 on one of eight ranks.
  const double layers[][4] = {{2048, 768, 128, 8}, {4096, 14336, 8, 2}, {7168, 2048, 32, 1}};
  for (const auto& [hidden, inter, experts, topk] : layers) {
    KernelShape s = base;
    s.hidden = hidden;
    s.inter = inter;
    s.experts = s.total_experts = experts;
    s.topk = topk;
    out.push_back({fmt::format("tokens at hidden {} inter {} experts {}", hidden, inter, experts),
                   1, 16384,
                   [s](double tokens) {
                     KernelShape one = s;
                     set_routed(one, tokens);
                     return one;
                   },
                   true});
  }
}

void add_attention(const KernelShape& base, bool decode, bool latent, std::vector<Sweep>& out) {
  KernelShape s = base;
  s.heads = latent ? 16 : 32;
  s.kv_heads = latent ? (decode ? 1 : s.heads) : 8;
  s.head_dim = latent ? (decode ? 576 : 192) : 128;
  if (!decode) {
    out.push_back({"prompt tokens", 16, 16384, [s](double tokens) {
                     KernelShape one = s;
                     set_batch(one, 1, tokens, 0);
                     return one;
                   }});
    return;
  }
  for (const double past : {255.0, 4095.0, 32767.0}) {
    out.push_back(
        {fmt::format("sequences of {} tokens", past + 1), 1, 512, [s, past](double batch) {
           KernelShape one = s;
           set_batch(one, batch, 1, past);
           return one;
         }});
  }
}

void add_message(const KernelCurve& curve, std::vector<Sweep>& out) {
  const double nodes = curve.dtype == "nodes" ? 2 : 1;
  const double gpus = curve.kernel == "send_recv" ? 2 * nodes : 8 * nodes;
  out.push_back({fmt::format("bytes over {} GPUs", gpus), 1024, 1 << 28, [=](double bytes) {
                   KernelShape s;
                   s.gpus = gpus;
                   s.nodes = nodes;
                   s.bytes = bytes;
                   return s;
                 }});
}

void add_dispatch(const KernelCurve& curve, std::vector<Sweep>& out) {
  const bool low_latency = curve.op == "deepep_ll";
  const bool outside = curve.kernel.starts_with("internode");
  const double row = curve.dtype == "fp8" ? fp8_token_bytes(7168) : bf16_token_bytes(7168);
  out.push_back({"tokens", 1, low_latency ? 512.0 : 16384.0, [=](double tokens) {
                   KernelShape s;
                   s.tokens = tokens;
                   s.hidden = 7168;
                   s.total_experts = 256;
                   s.topk = 8;
                   s.nodes = outside ? 2 : 1;
                   s.gpus = 8 * s.nodes;
                   s.sms = low_latency ? 0 : 20;
                   s.bytes = tokens * row * (low_latency ? s.topk : 5);
                   s.nic_bytes = outside ? tokens * row * (low_latency ? s.topk / 2 : 1) : 0;
                   return s;
                 }});
}

std::vector<Sweep> sweeps_of(const KernelCurve& curve) {
  std::vector<Sweep> out;
  const KernelShape base = with_format(curve);
  const std::string& op = curve.op;
  if (op == "gemm") add_gemm(base, out);
  if (op == "moe" || op == "moe_deepgemm") add_moe(base, out);
  if (op.starts_with("attention_") || op == "mla_generation" || op == "mla_context")
    add_attention(base, op.ends_with("generation"), op.starts_with("mla_"), out);
  if (op == "nccl" || op == "custom_allreduce") add_message(curve, out);
  if (op.starts_with("deepep_")) add_dispatch(curve, out);
  if (op == "mla_bmm") {
    out.push_back({"tokens", 1, 16384, [base](double m) {
                     KernelShape s = base;
                     s.heads = 16;
                     s.m = m;
                     s.n = 512;
                     s.k = 128;
                     return s;
                   }});
  }
  if (op == "stream" || op == "sampler") {
    out.push_back({"rows of 8 KiB", 1, 16384, [](double rows) {
                     KernelShape s;
                     s.rows = rows;
                     s.bytes = rows * 8192;
                     return s;
                   }});
  }
  return out;
}

/// The worst of a curve by each rule.
struct Worst {
  double value = 0;
  std::string where;
  void take(double found, const std::string& place) {
    if (found > value) {
      value = found;
      where = place;
    }
  }
};

class Judge {
 public:
  Judge(const KernelCurve& curve, std::string key, const DeviceCeilings& device,
        std::vector<PhysicsFinding>& out)
      : curve_(curve), key_(std::move(key)), device_(device), out_(out) {}

  void judge() {
    for (const Sweep& sweep : sweeps_of(curve_)) run(sweep);
    if (!none_.empty()) add(true, "its time is not positive at " + none_, "fit it again");
    if (fall_.value > kMostFall)
      add(fall_.value > 1 - 1 / kFactor,
          fmt::format("time falls by {:.0f} % {}", 100 * fall_.value, fall_.where),
          "work grows there; at most 15 % are tiles and changes of kernel");
    if (jump_.value > kMostJump)
      add(false, fmt::format("time jumps by {:.0f} % {}", 100 * jump_.value, jump_.where),
          "one token more, inside a tile, costs next to nothing");
    if (fast_.value > kDatasheetMargin)
      add(fast_.value > kFactor,
          fmt::format("{:.2f} times as fast as the datasheet allows {}", fast_.value, fast_.where),
          "check the units, the system and the sizes of the samples");
    if (curve_.spread_far > kMostSpread)
      add(false, fmt::format("spread {:.2f} is more than a factor of e", curve_.spread_far),
          "the form does not describe these samples");
    if (curve_.quality.left_p50 > kMostLeftOut)
      add(false,
          fmt::format("misses shapes left out by {:.0f} % (median)", 100 * curve_.quality.left_p50),
          "more shapes, or a table with other axes");
  }

 private:
  void run(const Sweep& sweep) {
    double before = 0;
    for (double size = sweep.first; size <= sweep.last; size *= 2) {
      const std::string where = fmt::format("at {} = {}", sweep.what, size);
      const double time = time_of(sweep.shape(size));
      if (!std::isfinite(time) || time <= 0) {
        none_ = where.substr(3);
        return;
      }
      fast_.take(least_time(curve_.op, sweep.shape(size), device_).value() / time, where);
      if (before > 0) fall_.take(1 - time / before, where);
      before = time;
      if (!sweep.tokens || size < 32) continue;
      // One past a whole number of sixteenths: inside a tile, however large tiles are.
      const double inside = 1.5 * size + 1;
      const double here = time_of(sweep.shape(inside)), next = time_of(sweep.shape(inside + 1));
      jump_.take(std::abs(next / here - 1), fmt::format("at {} = {}", sweep.what, inside));
    }
  }
  double time_of(const KernelShape& shape) const { return curve_.at(shape, device_).time.value(); }
  void add(bool error, std::string problem, std::string hint) {
    out_.push_back({error, key_, std::move(problem), std::move(hint)});
  }

  const KernelCurve& curve_;
  std::string key_;
  DeviceCeilings device_;
  std::vector<PhysicsFinding>& out_;
  Worst fall_, jump_, fast_;
  std::string none_;
};

}  // namespace

std::vector<PhysicsFinding> check_physics(const KernelProfile& profile, const SystemSpec& system) {
  std::vector<PhysicsFinding> findings;
  for (std::size_t i = 0; i < profile.curves.size(); ++i) {
    const KernelCurve& curve = profile.curves[i];
    std::string key = fmt::format("ops.{} ({}", i, curve.op);
    for (const std::string* part : {&curve.kernel, &curve.dtype}) {
      if (!part->empty()) key += " " + *part;
    }
    Judge(curve, key + ")", ceilings_of(system, curve.dtype), findings).judge();
  }
  return findings;
}

}  // namespace moesim
