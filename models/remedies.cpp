#include <algorithm>
#include <fmt/format.h>
#include <functional>
#include <optional>

#include "models/hf_config.h"
#include "models/memory.h"

namespace moesim {

namespace {

/// A plan's three inputs, to be changed one at a time.
struct Attempt {
  ModelSpec model;
  Parallel parallel;
  MemoryInputs inputs;
};

class Search {
 public:
  explicit Search(const Attempt& base) : base_(base) {}

  /// Adds `change` if planning with it succeeds; returns whether it did.
  bool try_change(const std::string& change, const std::function<void(Attempt&)>& apply) {
    Attempt attempt = base_;
    apply(attempt);
    const MemoryPlan plan = plan_memory(attempt.model, attempt.parallel, attempt.inputs);
    if (!plan.feasible) return false;
    found_.push_back(Remedy{
        .change = change,
        .why = fmt::format("{} of weights per GPU, room for {} tokens of KV",
                           to_gib_text(plan.gpus.front().weights.total()), plan.num_kv_tokens),
        .parallel = attempt.parallel});
    return true;
  }

  [[nodiscard]] std::vector<Remedy> found() && { return std::move(found_); }
  [[nodiscard]] const Attempt& base() const { return base_; }

 private:
  const Attempt& base_;
  std::vector<Remedy> found_;
};

// The number of blocks was given: without it, else the most that fit.
void try_other_override(Search& search) {
  const Attempt& base = search.base();
  if (!base.inputs.num_gpu_blocks_override) return;
  const auto leave_out = [](Attempt& attempt) { attempt.inputs.num_gpu_blocks_override.reset(); };
  if (search.try_change("engine.num_gpu_blocks_override: null", leave_out)) return;
  const MemoryPlan plan = plan_memory(base.model, base.parallel, base.inputs);
  if (plan.gpus.empty() || plan.num_gpu_blocks < 1) return;
  std::int64_t most = plan.num_gpu_blocks;
  for (const GpuMemory& gpu : plan.gpus) {
    const std::int64_t block = gpu.kv_cache.value() / plan.num_gpu_blocks;
    if (block > 0) most = std::min(most, (gpu.kv_cache + gpu.free).value() / block);
  }
  search.try_change(fmt::format("engine.num_gpu_blocks_override: {}", most),
                    [most](Attempt& attempt) { attempt.inputs.num_gpu_blocks_override = most; });
}

void try_utilization(Search& search) {
  const char* key = utilization_key(search.base().inputs.rules.budget);
  for (const double utilization : {0.90, 0.92, 0.95}) {
    if (utilization <= search.base().inputs.rules.utilization) continue;
    const auto apply = [utilization](Attempt& attempt) {
      attempt.inputs.rules.utilization = utilization;
    };
    if (search.try_change(fmt::format("engine.{}: {:.2f}", key, utilization), apply)) return;
  }
  // Too high: the driver's own memory does not fit beside it.
  for (const double utilization : {0.92, 0.90, 0.85}) {
    if (utilization >= search.base().inputs.rules.utilization) continue;
    const auto apply = [utilization](Attempt& attempt) {
      attempt.inputs.rules.utilization = utilization;
    };
    if (search.try_change(fmt::format("engine.{}: {:.2f}", key, utilization), apply)) return;
  }
}

/// The largest number up to `high` that fits, where smaller ones fit too; 0 if none.
template <class Fits>
int largest(int high, const Fits& fits) {
  int low = 0;
  while (low < high) {
    const int middle = low + (high - low + 1) / 2;
    if (fits(middle)) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// The longest context that fits, in steps of 1024 tokens; contexts below 1024 are no answer.
void try_shorter_context(Search& search) {
  constexpr int kStep = 1024;
  const Attempt& base = search.base();
  const int length = base.inputs.max_model_len > 0 ? base.inputs.max_model_len
                                                   : base.model.max_position_embeddings;
  const auto fits = [&base](int steps) {
    MemoryInputs inputs = base.inputs;
    inputs.max_model_len = steps * kStep;
    return plan_memory(base.model, base.parallel, inputs).feasible;
  };
  const int steps = largest((length - 1) / kStep, fits);
  if (steps == 0) return;
  search.try_change(fmt::format("engine.max_model_len: {}", steps * kStep),
                    [steps](Attempt& attempt) { attempt.inputs.max_model_len = steps * kStep; });
}

void try_fewer_adapters(Search& search) {
  const Attempt& base = search.base();
  const int count = largest(base.inputs.lora.adapters - 1, [&base](int adapters) {
    MemoryInputs inputs = base.inputs;
    inputs.lora.adapters = adapters;
    return plan_memory(base.model, base.parallel, inputs).feasible;
  });
  if (count > 0) {
    search.try_change(fmt::format("lora.adapters: {}", count),
                      [count](Attempt& attempt) { attempt.inputs.lora.adapters = count; });
  }
  if (base.inputs.lora.adapters == 0) return;
  for (int rank = base.inputs.lora.rank / 2; rank >= 8; rank /= 2) {
    const auto apply = [rank](Attempt& attempt) { attempt.inputs.lora.rank = rank; };
    if (search.try_change(fmt::format("lora.rank: {}", rank), apply)) return;
  }
}

void try_smaller_batch(Search& search) {
  for (int tokens = search.base().inputs.max_num_batched_tokens / 2; tokens >= 1024; tokens /= 2) {
    const auto apply = [tokens](Attempt& attempt) {
      attempt.inputs.max_num_batched_tokens = tokens;
    };
    if (search.try_change(fmt::format("engine.max_num_batched_tokens: {}", tokens), apply)) return;
  }
}

void try_precision(Search& search) {
  const Precisions& now = search.base().model.precisions;
  if (payload_bits(now.kv_cache) > 8) {
    search.try_change("precision.kv_cache: fp8", [](Attempt& attempt) {
      apply_precision(attempt.model, {.kv_cache = "fp8"});
    });
  }
  const NumberFormat weights = search.base().model.is_moe() ? now.experts : now.dense_ffn;
  for (const NumberFormat format : {NumberFormat::kFp8, NumberFormat::kAwqInt4}) {
    if (payload_bits(format) >= payload_bits(weights)) continue;
    const std::string name = to_text(format);
    const auto apply = [&name](Attempt& attempt) {
      apply_precision(attempt.model, {.weights = name});
    };
    if (search.try_change("precision.weights: " + name, apply)) return;
  }
}

void try_more_gpus(Search& search) {
  const Parallel& now = search.base().parallel;
  for (int factor = 2; factor <= 16; factor *= 2) {
    const int tp = now.tp * factor;
    const auto apply = [tp](Attempt& attempt) { attempt.parallel.tp = tp; };
    if (search.try_change(fmt::format("tensor_parallel_size: {}", tp), apply)) break;
  }
  for (int factor = 2; factor <= 16; factor *= 2) {
    const int pp = now.pp * factor;
    const auto apply = [pp](Attempt& attempt) { attempt.parallel.pp = pp; };
    if (search.try_change(fmt::format("pipeline_parallel_size: {}", pp), apply)) break;
  }
  if (!search.base().model.is_moe() || now.dp == 1) return;
  if (!now.expert_parallel) {
    search.try_change("engine.enable_expert_parallel: true",
                      [](Attempt& attempt) { attempt.parallel.expert_parallel = true; });
  }
}

}  // namespace

std::vector<Remedy> find_remedies(const ModelSpec& model, const Parallel& parallel,
                                  const MemoryInputs& inputs) {
  if (plan_memory(model, parallel, inputs).feasible) return {};
  const Attempt base{model, parallel, inputs};
  Search search(base);
  try_other_override(search);
  try_utilization(search);
  try_shorter_context(search);
  try_smaller_batch(search);
  try_fewer_adapters(search);
  try_precision(search);
  try_more_gpus(search);
  return std::move(search).found();
}

}  // namespace moesim
