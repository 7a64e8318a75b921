#include <algorithm>
#include <fmt/format.h>
#include <initializer_list>

#include "scenarios/load_parts.h"

// The rules that span keys of one engine: what does not fit its steps, its model or its requests.

namespace moesim {
namespace {

/// One entry of deployment.instances.
struct Rules {
  const Scenario& scenario;
  Reader& root;
  LoadContext& context;
  std::size_t entry;
  const EngineSpec& engine;
  const EngineKeys& keys;  ///< as given

  [[nodiscard]] std::string key(const std::string& name) const {
    return fmt::format("deployment.instances.{}.{}", entry, name);
  }
  /// Whether these keys are what the user meant: what could not be read has its default.
  [[nodiscard]] bool know(std::initializer_list<const char*> names) const {
    return std::ranges::none_of(names, [&](const std::string& name) {
      const std::string own = own_name(engine.backend, name);
      return root.faulty("engine." + name) || root.faulty("engine." + own) ||
             root.faulty(key("engine." + name)) || root.faulty(key("engine." + own));
    });
  }
};

/// A step must have room for one token of every running request (vLLM refuses to start otherwise).
void check_batch(const Rules& rules) {
  const EngineSpec& engine = rules.engine;
  if (engine.backend == "sglang") return;  // decodes are batches of their own
  if (engine.max_num_seqs <= engine.max_num_batched_tokens) return;
  if (!rules.know({"max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill"})) return;
  const Given<int>& at =
      rules.keys.max_num_seqs ? rules.keys.max_num_seqs : rules.keys.max_num_batched_tokens;
  fail(rules.context, at,
       fmt::format("max_num_seqs is {}, above max_num_batched_tokens, {}", engine.max_num_seqs,
                   engine.max_num_batched_tokens),
       "raise max_num_batched_tokens, or lower max_num_seqs");
}

/// Without chunked prefill the longest prompt must fit one step.
void check_chunking(const Rules& rules) {
  const EngineSpec& engine = rules.engine;
  // SGLang runs one long prompt whole, TensorRT-LLM refuses it when it comes.
  if (engine.backend == "sglang" || engine.backend == "trtllm") return;
  if (!rules.know({"max_num_batched_tokens", "max_model_len", "enable_chunked_prefill"})) return;
  if (!engine.enable_chunked_prefill && engine.max_num_batched_tokens < engine.max_model_len) {
    fail(rules.context, rules.keys.max_num_batched_tokens,
         fmt::format("{} is below max_model_len, {}, and prompts are not chunked",
                     engine.max_num_batched_tokens, engine.max_model_len),
         engine.backend == "static_batch"  // its prompts are never chunked
             ? "raise it, or lower max_model_len"
             : "raise it, lower max_model_len, or turn enable_chunked_prefill on");
  }
  const int threshold = engine.long_prefill_token_threshold;
  if (threshold == 0) return;
  if (!engine.enable_chunked_prefill) {
    fail(rules.context, rules.keys.long_prefill_token_threshold,
         "has no effect with enable_chunked_prefill: false", "leave one of the two out");
  } else if (threshold >= engine.max_num_batched_tokens) {
    fail(rules.context, rules.keys.long_prefill_token_threshold,
         fmt::format("{} has no effect: a step has {} tokens anyway", threshold,
                     engine.max_num_batched_tokens),
         "write a smaller number, or leave it out");
  }
}

/// A model without positions beyond its training length cannot be asked for more.
void check_model_len(const Rules& rules) {
  const EngineSpec& engine = rules.engine;
  const int limit = rules.scenario.model.max_position_embeddings;
  if (limit > 0 && engine.max_model_len > limit) {
    fail(rules.context, rules.keys.max_model_len,
         fmt::format("{} is beyond the model's max_position_embeddings, {}", engine.max_model_len,
                     limit),
         fmt::format("write at most {}", limit));
  }
  if (engine.max_model_len > 0 || !rules.know({"max_model_len"})) return;
  rules.root.fail("engine.max_model_len",
                  "required key is missing: the model's config.json has no max_position_embeddings",
                  "write max_model_len: N");
}

/// A fixed prompt that no request could be served with is a mistake; a long tail is not.
void check_prompt_fits(const Rules& rules) {
  const EngineSpec& engine = rules.engine;
  const WorkloadSpec& workload = rules.scenario.workload;
  const Distribution& input = workload.synthetic.input_tokens;
  if (workload.trace || input.kind != Distribution::Kind::kFixed) return;
  const double prompt = input.a + workload.synthetic.shared_prefix_tokens;
  if (prompt < engine.max_model_len || engine.max_model_len <= 0) return;
  if (!rules.know({"max_model_len"}) || rules.root.faulty("workload.synthetic.input_tokens"))
    return;
  rules.root.fail("workload.synthetic.input_tokens",
                  fmt::format("prompts of {:g} tokens leave no room in max_model_len, {}", prompt,
                              engine.max_model_len),
                  "shorten the prompt, or raise engine.max_model_len");
}

/// Pipelines of SGLang and TensorRT-LLM schedule each micro-batch by itself.
void check_pipeline(const Rules& rules) {
  const std::string& backend = rules.engine.backend;
  if (rules.scenario.instances[rules.entry].parallel.pp == 1 ||
      (backend != "sglang" && backend != "trtllm"))
    return;
  rules.root.fail(rules.key("pipeline_parallel_size"),
                  fmt::format("pipelines of {} are not modelled yet", backend),
                  "use tensor_parallel_size, or backend: vllm");
}

/// Priorities come with a trace, whose reader tells whether it has some; drawn requests have none.
void check_priority(const Rules& rules) {
  const EngineSpec& engine = rules.engine;
  if (!engine.priority_scheduling || rules.scenario.workload.trace) return;
  rules.context.diagnostics.add(
      no_priorities(rules.keys.scheduling_policy, "requests of a synthetic workload"));
}

}  // namespace

Diagnostic no_priorities(const Given<std::string>& policy, const std::string& requests) {
  return {policy.where, policy.key, fmt::format("priority has no effect: {} have none", requests),
          "write fcfs, or replay a trace with a priority column"};
}

void check_engines(const ValidateInputs& inputs, LoadContext& context) {
  for (std::size_t i = 0; i < inputs.scenario.instances.size(); ++i) {
    const Rules rules{
        inputs.scenario,  inputs.root, context, i, inputs.scenario.instances[i].engine,
        inputs.engines[i]};
    if (!rules.know({"backend"})) continue;
    check_pipeline(rules);
    check_batch(rules);
    check_chunking(rules);
    check_priority(rules);
    check_model_len(rules);
    check_prompt_fits(rules);
  }
}

}  // namespace moesim
