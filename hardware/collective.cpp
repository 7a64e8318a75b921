#include "hardware/collective.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/random.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

constexpr std::int64_t kKiB = 1024;
constexpr std::int64_t kMiB = 1024 * kKiB;

bool custom_size(std::size_t ranks) {
  return ranks == 2 || ranks == 4 || ranks == 6 || ranks == 8;
}

/// Largest message vLLM gives to a kernel of its own or of torch's symmetric memory instead of NCCL
/// (serving-semantics 4.4). The custom kernel ends below its limit; symmetric memory, which is
/// faster from there on, includes its own.
std::int64_t largest_custom(int sm_version, std::size_t ranks, bool nvlink) {
  constexpr std::int64_t kCustom = 8 * kMiB;
  const bool hopper = sm_version >= 90 && sm_version < 100;
  const bool blackwell = sm_version >= 100 && sm_version < 110;
  if (nvlink && hopper) return (ranks == 4 ? 32 : 64) * kMiB;
  if (nvlink && blackwell) return (ranks == 2 ? 8 : (ranks == 4 ? 32 : 128)) * kMiB;
  return kCustom - 1;
}

bool one_shot_size(int sm_version, std::size_t ranks, std::int64_t bytes) {
  if (ranks == 2) return bytes < (sm_version >= 100 && sm_version < 110 ? 2 : 8) * kMiB;
  return bytes < (ranks <= 4 ? 512 : 256) * kKiB;
}

std::uint64_t hash_of(CollectiveKind kind, std::span<const int> gpus) {
  auto hash = static_cast<std::uint64_t>(kind) + (static_cast<std::uint64_t>(gpus.size()) << 8);
  for (const int gpu : gpus) hash = mix64(hash ^ static_cast<std::uint64_t>(gpu));
  return hash;
}

}  // namespace

CollectiveCost CostCurve::at(Bytes bytes) const {
  const double size = static_cast<double>(bytes.value());
  double least = lines.front().fixed.value() + lines.front().seconds_per_byte * size;
  for (const CostLine& line : lines) {
    least = std::min(least, line.fixed.value() + line.seconds_per_byte * size);
  }
  return {Seconds(least), Bytes(static_cast<std::int64_t>(busiest_share * size))};
}

CollectiveCost CollectiveAlgorithm::cost(const CollectiveCall& call,
                                         const Topology& topology) const {
  if (call.gpus.size() < 2) return {};
  return curve(call.kind, call.gpus, topology).at(call.bytes);
}

struct Collectives::Option {
  std::string name;
  CostCurve curve;
};

/// What is known of one (kind, group): the curve of every algorithm that may be taken.
struct Collectives::Group {
  CollectiveKind kind;
  std::vector<int> gpus;
  std::vector<Option> options;       // the cheapest is taken ...
  std::vector<Option> custom;        // ... but for one_shot and two_shot, in this order, up to
  std::int64_t largest_custom = -1;  // bytes; -1: no custom all-reduce here
  [[nodiscard]] bool is(const CollectiveCall& call) const {
    return kind == call.kind && std::ranges::equal(gpus, call.gpus);
  }
};

struct Collectives::Memo {
  std::unordered_map<std::uint64_t, std::vector<std::unique_ptr<Group>>> groups;
  const Group* last = nullptr;
};

Collectives::Collectives(const Topology& topology, int sm_version)
    : topology_(&topology), sm_version_(sm_version), memo_(std::make_unique<Memo>()) {
  const Document none = Document::parse("{}", "collectives");
  Diagnostics diagnostics;
  Reader parameters(none, diagnostics);
  for (const auto& [name, entry] : Registry<CollectiveAlgorithm>::entries()) {
    candidates_.push_back({name, entry.make(parameters)});
  }
}

Collectives::Collectives(Collectives&&) noexcept = default;
Collectives::~Collectives() = default;

std::unique_ptr<Collectives::Group> Collectives::make_group(const CollectiveCall& call) const {
  auto group = std::make_unique<Group>();
  group->kind = call.kind;
  group->gpus.assign(call.gpus.begin(), call.gpus.end());
  for (const Candidate& candidate : candidates_) {
    if (candidate.name == "halving_doubling") continue;  // no engine has it
    if (!candidate.algorithm->supports(call, *topology_)) continue;
    Option option{candidate.name, candidate.algorithm->curve(call.kind, call.gpus, *topology_)};
    const bool custom = option.name == "one_shot" || option.name == "two_shot";
    (custom ? group->custom : group->options).push_back(std::move(option));
  }
  MOESIM_CHECK(!group->options.empty(), "some algorithm supports every kind over any group");
  if (group->custom.size() == 2 && custom_size(call.gpus.size())) {
    group->largest_custom =
        largest_custom(sm_version_, call.gpus.size(), topology_->nvlink_connected(call.gpus));
  }
  return group;
}

const Collectives::Group& Collectives::group_of(const CollectiveCall& call) const {
  if (memo_->last != nullptr && memo_->last->is(call)) return *memo_->last;
  auto& bucket = memo_->groups[hash_of(call.kind, call.gpus)];
  auto found = std::ranges::find_if(bucket, [&](const auto& known) { return known->is(call); });
  if (found == bucket.end()) found = bucket.insert(bucket.end(), make_group(call));
  memo_->last = found->get();
  return *memo_->last;
}

const Collectives::Option& Collectives::pick(const CollectiveCall& call) const {
  const Group& group = group_of(call);
  const std::int64_t bytes = call.bytes.value();
  if (bytes <= group.largest_custom) {
    return one_shot_size(sm_version_, group.gpus.size(), bytes) ? group.custom.front()
                                                                : group.custom.back();
  }
  const Option* cheapest = &group.options.front();
  for (const Option& option : group.options) {
    if (option.curve.at(call.bytes).time < cheapest->curve.at(call.bytes).time) cheapest = &option;
  }
  return *cheapest;
}

CollectiveCost Collectives::cost(const CollectiveCall& call) const {
  if (call.gpus.size() < 2) return {};
  return pick(call).curve.at(call.bytes);
}

std::string Collectives::chosen(const CollectiveCall& call) const {
  return call.gpus.size() < 2 ? "none" : pick(call).name;
}

Seconds Collectives::send(Bytes bytes, int from_gpu, int to_gpu) const {
  if (from_gpu == to_gpu) return {};
  const int pair[] = {from_gpu, to_gpu};
  Seconds fixed = topology_->p2p_latency(from_gpu);
  if (topology_->node_count(pair) > 1) fixed += topology_->latencies(pair).cross_node;
  return fixed + topology_->latency(from_gpu, to_gpu) +
         bytes / topology_->bottleneck(from_gpu, to_gpu);
}

}  // namespace moesim
