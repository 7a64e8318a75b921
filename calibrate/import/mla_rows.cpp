#include <algorithm>
#include <map>

#include "calibrate/import/kernel_rows.h"
#include "hardware/attention.h"
#include "sim/base/stats.h"

namespace moesim {

namespace {

// DeepSeek-V3's latent attention, which every table of these operators measures.
constexpr double kLatent = 512;
constexpr double kRotary = 64;
constexpr double kNope = 128;  ///< also the size of a head's values

KernelSample start(KernelTable& table, std::size_t row) {
  KernelSample sample;
  sample.system = table.system();
  sample.framework = table.text(row, {"src", "framework"});
  sample.shape.heads = table.size(row, {"heads"});
  sample.shape_key = table.text(row, {"heads"});
  sample.seconds = table.microseconds(row, {"latency_us"}) * 1e-6;
  return sample;
}

/// What grows with the work of a call, to order calls of one table.
double work_of(const KernelShape& s) {
  return s.kv_heads > 1 || s.queries > s.batch ? s.pairs_qk * s.heads : s.kv_tokens;
}

/// Marks `rows` whose work the host hides; true if any. Calls timed without a CUDA graph wait for
/// the host: small ones take as long as it needs to launch, whatever they do. A floor above
/// kHostFloor gives such rows away (kernels replayed in a graph begin at 10 to 20 us). Judged by
/// work, not by time, or only the disturbed ones among the small calls would be kept.
bool mark_host_bound(const std::vector<KernelSample*>& rows) {
  constexpr double kHostFloor = 60e-6;
  constexpr double kFlat = 1.5;  ///< times the floor: still the host
  std::vector<double> times, hidden;
  for (const KernelSample* s : rows) times.push_back(s->seconds);
  std::sort(times.begin(), times.end());
  const double floor = percentile(times, 5);
  if (floor < kHostFloor) return false;
  for (const KernelSample* s : rows) {
    if (s->seconds < kFlat * floor) hidden.push_back(work_of(s->shape));
  }
  std::sort(hidden.begin(), hidden.end());
  const double limit = percentile(hidden, 95);
  for (KernelSample* s : rows) {
    s->kernel = "ungraphed";
    s->suspect = work_of(s->shape) <= limit;
  }
  return true;
}

void read_attention(KernelTable& table, KernelSamples& out) {
  const bool decode = table.has("past_len");
  const std::size_t first = out.samples.size();
  for (std::size_t row = 0; row < table.rows(); ++row) {
    KernelSample sample = start(table, row);
    sample.op = decode ? "mla_generation" : "mla_context";
    KernelShape& s = sample.shape;
    sample.dtype = table.format(row, {"kv_dtype"});
    s.kv_bytes = weight_bytes_of(sample.dtype);
    s.input_bytes = s.kv_bytes;
    const double queries = decode ? 1 : table.size(row, {"seq_len"});
    const double past = decode ? table.size(row, {"past_len"}, kFromZero) : 0;
    s.batch = table.size(row, {"batch"});
    s.queries = s.batch * queries;
    s.kv_tokens = s.batch * visible_keys(queries, past, 0);
    s.pairs_qk = s.batch * visible_pairs(queries, past, 0);
    s.longest = longest_row(queries, past, 0);
    // Decode works on latents, prefill on keys and values of every head.
    s.kv_heads = decode ? 1 : s.heads;
    s.head_dim = decode ? kLatent + kRotary : kNope + kRotary;
    out.samples.push_back(std::move(sample));
  }
  std::map<std::pair<std::string, std::string>, std::vector<KernelSample*>> groups;
  for (std::size_t i = first; i < out.samples.size(); ++i)
    groups[{out.samples[i].framework, out.samples[i].dtype}].push_back(&out.samples[i]);
  for (const auto& [key, rows] : groups) {
    if (!mark_host_bound(rows)) continue;
    out.notes.push_back({table.path().string() + ": " + key.first + " " + key.second +
                             " was timed without a graph; its small calls are not fitted",
                         0});  // they are samples, marked suspect
  }
}

// The two products around absorbed attention, one small matrix per head: queries into the latent
// space before it ([tokens, 128] x [128, 512]), values out of it after.
void read_products(KernelTable& table, KernelSamples& out) {
  for (std::size_t row = 0; row < table.rows(); ++row) {
    KernelSample sample = start(table, row);
    sample.op = "mla_bmm";
    sample.kernel = table.text(row, {"op"});
    KernelShape& s = sample.shape;
    sample.dtype = table.format(row, {"dtype"});
    s.weight_bytes = weight_bytes_of(sample.dtype);
    s.input_bytes = input_bytes_of(sample.dtype);
    s.m = table.size(row, {"tokens"});
    if (sample.kernel != "mla_gen_pre" && sample.kernel != "mla_gen_post")
      table.mistake(row, "op", "must be mla_gen_pre or mla_gen_post");
    const bool before = sample.kernel == "mla_gen_pre";
    s.n = before ? kLatent : kNope;
    s.k = before ? kNope : kLatent;
    out.samples.push_back(std::move(sample));
  }
}

}  // namespace

void read_mla_rows(KernelTable& table, KernelSamples& out) {
  if (table.has("op")) return read_products(table, out);
  if (table.has("phase")) {
    out.notes.push_back(
        {table.path().string() + ": whole modules are not fitted; their kernels are",
         table.rows()});
    return;
  }
  read_attention(table, out);
}

}  // namespace moesim
