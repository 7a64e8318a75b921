// Mistakes in the section `offload`: experts outside the GPU.

#include <doctest/doctest.h>

#include "tests/scenarios/line_cases.h"

namespace moesim {
namespace {

TEST_CASE("mistakes about experts outside the GPU") {
  CHECK(
      differences({
          {"a KV tier is for later",
           19,
           "offload: {kv: {tier: host}}",
           {{19, "offload.experts", "missing", "KV tiers are not modelled"},
            {19, "offload.kv", "unknown key", ""}}},
          {"how much stays on the GPU has no default",
           19,
           "offload: {experts: {tier: host}}",
           {{19, "offload.experts.resident_fraction", "missing", ""}}},
          {"offload by names and numbers nobody knows",
           19,
           "offload: {experts: {tier: disk, resident_fraction: 50, policy: mru, prefetch: all}}",
           {{19, "offload.experts.tier", "disk", "host"},
            {19, "offload.experts.resident_fraction", "50", ""},
            {19, "offload.experts.policy", "mru", "lru"},
            {19, "offload.experts.prefetch", "all", "next_layer"}}},
          {"how to move experts that never move",
           19,
           "offload: {experts: {tier: host, resident_fraction: 1, policy: lru, prefetch: "
           "next_layer}}",
           {{19, "offload.experts.policy", "has no effect: resident_fraction 1", "leave it out"},
            {19, "offload.experts.prefetch", "has no effect: resident_fraction 1",
             "leave it out"}}},
          {"who computes experts that are all there, and which layers'",
           19,
           "offload: {experts: {resident_fraction: 1, policy: whole_layers, compute: cpu}}",
           {{19, "offload.experts.compute", "has no effect: resident_fraction 1", "leave it out"},
            {19, "offload.experts.policy", "has no effect: resident_fraction 1", "leave it out"}}},
          {"a CPU that computes what another GPU has, and keeps what it never gets",
           19,
           "offload: {experts: {tier: peer, resident_fraction: 0.5, policy: lru, compute: cpu,"
           " prefetch: next_layer}}",
           {{19, "offload.experts", "needs an idle GPU", "write tier: host"},
            {19, "offload.experts.compute", "tier says peer", "write tier: host"},
            {19, "offload.experts.policy", "lru has no use with compute cpu", "whole_layers"},
            {19, "offload.experts.prefetch", "compute cpu: experts stay", "prefetch: none"}}},
          {"tokens counted for what is never learned",
           19,
           "offload: {experts: {resident_fraction: 0.5, policy: lfu, compute: cpu}}",
           {{19, "offload.experts.policy", "lfu has no use with compute cpu", "pinned_hot"}}},
          {"neither the GPU nor the CPU",
           19,
           "offload: {experts: {resident_fraction: 0.5, compute: tpu}}",
           {{19, "offload.experts.compute", "tpu", "gpu"}}},
          {"experts elsewhere, and two policies for where experts are",
           12,
           "    - {tensor_parallel_size: 2, engine: {enable_expert_parallel: true}}\n"
           "placement: {eplb: {}}\n"
           "offload: {experts: {resident_fraction: 0.5}}",
           {{14, "offload.experts", "not modelled together with placement eplb", "leave one"}}},
          {"a dense model has no experts to put elsewhere",
           3,
           "model: meta-llama/Llama-2-13b-hf\noffload: {experts: {resident_fraction: 0.5}}",
           {{4, "offload.experts", "the model has no experts", "leave offload out"}}},
          {"GeForce cards do not read each other's memory",
           7,
           "    - {profile: rtx_4090, gpus: 4}\n"
           "offload: {experts: {tier: peer, resident_fraction: 0.5}}",
           {{8, "offload.experts", "a rtx_4090 cannot read", "tier: host"}}},
          {"nobody is left to hold what does not fit",
           19,
           "offload: {experts: {tier: peer, resident_fraction: 0.5}}",
           {{19, "offload.experts", "needs an idle GPU", "system.nodes"}}},
      }) == "");
}

}  // namespace
}  // namespace moesim
