#include <algorithm>

#include "calibrate/import/kernel_rows.h"
#include "calibrate/import/layer_profile.h"
#include "hardware/attention.h"

namespace moesim {

namespace {

/// `batch` sequences alike: `queries` new tokens each over `past` cached ones.
void set_work(KernelShape& s, double batch, double queries, double past) {
  s.batch = batch;
  s.queries = batch * queries;
  s.kv_tokens = batch * visible_keys(queries, past, s.window);
  s.pairs_qk = batch * visible_pairs(queries, past, s.window);
  s.longest = longest_row(queries, past, s.window);
}

std::string heads_key(const KernelShape& s) {
  const auto whole = [](double value) { return std::to_string(static_cast<long long>(value)); };
  return whole(s.heads) + "/" + whole(s.kv_heads) + "x" + whole(s.head_dim) + "w" + whole(s.window);
}

/// Batches of one prompt length (seq_len, no cache before it) or of one context (past_len).
void read_uniform_rows(KernelTable& table, KernelSamples& out) {
  const bool decode = table.has("past_len");
  for (std::size_t row = 0; row < table.rows(); ++row) {
    KernelSample sample;
    sample.system = table.system();
    sample.framework = table.text(row, {"src", "framework"});
    sample.op = decode ? "attention_generation" : "attention_context";
    const std::string computed = table.format(row, {"attn_dtype"});
    const std::string cached = table.format(row, {"kv_dtype"});
    sample.dtype = computed + "/" + cached;
    KernelShape& s = sample.shape;
    s.heads = table.size(row, {"heads"});
    s.kv_heads = table.size(row, {"kv_heads"});
    s.head_dim = table.size(row, {"head_dim"});
    s.window = table.size(row, {"window"}, kFromZero, 0);
    s.input_bytes = weight_bytes_of(computed);
    s.kv_bytes = weight_bytes_of(cached);
    const double batch = table.size(row, {"batch"});
    if (decode)
      set_work(s, batch, 1, table.size(row, {"past_len"}, kFromZero));
    else
      set_work(s, batch, table.size(row, {"seq_len"}), 0);
    sample.shape_key = heads_key(s);
    sample.seconds = table.microseconds(row, {"latency_us"}) * 1e-6;
    out.samples.push_back(std::move(sample));
  }
}

/// A vLLM layer profile: decode batches, single chunks over a prefix, and batches of both in one
/// kernel, which count as chunks. The last are many times as many as the rest: one in eight is
/// kept.
void read_profile_rows(KernelTable& table, KernelSamples& out) {
  const LayerProfile profile = layer_profile_of(table.path());
  out.versions["vllm"].insert(profile.version);
  constexpr std::size_t kEvery = 8;
  std::size_t mixed = 0;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const double chunk = table.size(row, {"prefill_chunk"}, kFromZero);
    const double decodes = table.size(row, {"n_decode"}, kFromZero);
    const double seconds = table.microseconds(row, {"time_us"}) * 1e-6;
    if (chunk + decodes <= 0)
      table.mistake(row, "prefill_chunk", "a row must have a chunk or decoding sequences");
    if (chunk > 0 && decodes > 0 && mixed++ % kEvery != 0) continue;
    KernelSample sample;
    sample.system = profile.system;
    sample.framework = "vllm";
    sample.op = chunk > 0 ? "attention_context" : "attention_generation";
    sample.dtype = "bfloat16/bfloat16";
    KernelShape& s = sample.shape;
    s.heads = profile.heads / profile.tp;
    s.kv_heads = std::max(1.0, profile.kv_heads / profile.tp);
    s.head_dim = profile.head_dim;
    if (chunk > 0)
      set_work(s, 1, chunk, table.size(row, {"kv_prefill"}, kFromZero));
    else
      set_work(s, decodes, 1, table.size(row, {"kv_decode"}, kFromZero));
    if (chunk > 0 && decodes > 0) {
      const double context = table.size(row, {"kv_decode"}, kFromZero);
      s.decodes = decodes;
      s.decode_tokens = decodes * visible_keys(1, context, s.window);
      s.decode_longest = longest_row(1, context, s.window);
      s.longest = std::max(s.longest, s.decode_longest);
    }
    sample.shape_key = heads_key(s);
    sample.seconds = seconds;
    out.samples.push_back(std::move(sample));
  }
}

/// Batches of which some sequences decode at a long context and the rest at a short one, alone or
/// beside a prompt chunk. Times are sums over the profiler's repeats of a batch: those that
/// attention.csv has, too, are as many times as long there.
void read_skewed_rows(KernelTable& table, KernelSamples& out) {
  const LayerProfile profile = layer_profile_of(table.path());
  out.versions["vllm"].insert(profile.version);
  for (std::size_t row = 0; row < table.rows(); ++row) {
    KernelSample sample;
    sample.system = profile.system;
    sample.framework = "vllm";
    sample.dtype = "bfloat16/bfloat16";
    const double chunk = table.size(row, {"pc"}, kFromZero);
    const double decodes = table.size(row, {"n"}), longs = table.size(row, {"nb"});
    if (longs > decodes) table.mistake(row, "nb", "more than there are sequences");
    const double context = table.size(row, {"kv_big"});
    const double mean = (longs * context + (decodes - longs) * table.size(row, {"kvs"})) / decodes;
    KernelShape& s = sample.shape;
    s.heads = profile.heads / profile.tp;
    s.kv_heads = std::max(1.0, profile.kv_heads / profile.tp);
    s.head_dim = profile.head_dim;
    sample.op = chunk > 0 ? "attention_context" : "attention_generation";
    if (chunk > 0) {
      set_work(s, 1, chunk, table.size(row, {"kp"}, kFromZero));
      s.decodes = decodes;
      s.decode_tokens = decodes * visible_keys(1, mean, 0);
      s.decode_longest = longest_row(1, context, 0);
    } else {
      set_work(s, decodes, 1, mean);
    }
    s.longest = std::max(s.longest, longest_row(1, context, 0));
    sample.shape_key = heads_key(s) + " " + std::to_string(static_cast<int>(decodes)) + ":" +
                       std::to_string(static_cast<int>(longs));
    sample.seconds = table.microseconds(row, {"t_skew_us"}) / profile.repeats * 1e-6;
    out.samples.push_back(std::move(sample));
  }
}

}  // namespace

void read_attention_rows(KernelTable& table, KernelSamples& out) {
  if (table.has("n_decode")) return read_profile_rows(table, out);
  if (table.has("t_skew_us")) return read_skewed_rows(table, out);
  read_uniform_rows(table, out);
}

}  // namespace moesim
