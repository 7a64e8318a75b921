#include "tests/reference/step_table.h"

#include <algorithm>
#include <sstream>

#include "tests/reference/engine_run.h"

namespace moesim::reference {

PlainConfig config_of(const Situation& situation) {
  PlainConfig config;
  config.scheduler = situation.scheduler;
  config.limits = situation.limits;
  config.block_size = situation.block_size;
  config.usable_blocks = situation.blocks;
  config.groups = situation.groups;
  config.prefix_caching = situation.caching;
  config.host = {0, 0, 0, 0, 0, 0, 0, 0};
  const int stages = situation.limits.pipeline_stages;
  config.queue_depth = stages > 1 ? stages : situation.limits.async ? 2 : 1;
  config.max_calls = 200;
  return config;
}

Workload workload_of(const Situation& situation) {
  Workload workload;
  workload.output_continues_chain = situation.continues;
  workload.chain_begin.push_back(0);
  for (const Row& row : situation.requests) {
    workload.arrival_ns.push_back(row.arrival);
    workload.prompt_tokens.push_back(row.prompt);
    workload.output_tokens.push_back(row.output);
    workload.priority.push_back(row.priority);
    for (const ChainElement& element : row.chain) {
      workload.chain.push_back(element);
      workload.chain_ids = std::max(workload.chain_ids, element.id + 1);
    }
    workload.chain_begin.push_back(static_cast<std::uint32_t>(workload.chain.size()));
  }
  return workload;
}

std::vector<std::string> step_table(const Situation& situation) {
  const Workload workload = workload_of(situation);
  FormulaPricer pricer({.step_ns = 1000,
                        .decode_ns = 0,
                        .context_ns = 0,
                        .prompt_ns = 0,
                        .attention_ns = 0,
                        .row_ns = 0,
                        .stage_ns = 0},
                       situation.limits.pipeline_stages);
  const PlainResult result = run_engine(config_of(situation), workload, pricer);
  std::vector<std::string> lines;
  for (const PlainCall& call : result.calls) {
    if (call.empty() && call.preempted.empty()) continue;
    std::ostringstream line;
    if (situation.times) line << call.scheduled << " ";
    for (const std::uint32_t request : call.preempted) line << "^" << request << " ";
    for (const PlainPart& part : call.parts) {
      if (part.decode) {
        line << part.request << ". ";
        continue;
      }
      line << part.request << ":" << part.tokens;
      for (const PlainAdmission& admission : call.admitted) {
        if (admission.request == part.request && admission.hit_blocks > 0) {
          line << "/" << admission.hit_blocks;
        }
      }
      line << (part.samples ? "! " : " ");
    }
    line << "=" << call.free_blocks;
    lines.push_back(line.str());
  }
  return lines;
}

}  // namespace moesim::reference
