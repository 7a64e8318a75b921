#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scenarios/expert_routing.h"
#include "scenarios/load_parts.h"

namespace moesim {
namespace {

/// A value of the document to be replaced.
struct Change {
  std::string path, value;
  Where where;
};

/// The files that a kind and the kinds it is based on name.
void find_files(Reader& section, LoadContext& context, std::vector<Change>& changes) {
  for (const char* key : {"path", "parameters"}) {
    if (!section.is_text(key)) continue;
    std::string quoted = "'";
    for (const char c : context.file(section, key).string())
      quoted += c == '\'' ? "''" : std::string(1, c);
    changes.push_back({section.path(key), quoted + "'", section.where(key)});
  }
  if (!section.is_map("base")) return;
  Reader base = section.map("base");
  find_files(base, context, changes);
}

/// Where a kind, or one it is based on, lists mixes of domains by time.
std::optional<Where> find_schedule(Reader& section) {
  if (section.is_list("domain_mix")) return section.where("domain_mix");
  if (!section.is_map("base")) return std::nullopt;
  Reader base = section.map("base");
  return find_schedule(base);
}

/// When an expert of a kind, or of one it is based on, gets hot, if that is not at once.
std::optional<double> find_hot_from(Reader& section) {
  const double from = section.is_number("from_s") ? section.number_or("from_s", 0, {-1e300}) : 0;
  if (from > 0) return from;
  if (!section.is_map("base")) return std::nullopt;
  Reader base = section.map("base");
  return find_hot_from(base);
}

template <class Enum>
struct Choice {
  const char* name;
  Enum value;
};

template <class Enum, std::size_t n>
Enum read_choice(Reader& in, const std::string& key, const Choice<Enum> (&choices)[n]) {
  std::vector<std::string> names;
  for (const Choice<Enum>& choice : choices) names.emplace_back(choice.name);
  const std::string name = in.choice_or(key, names, names.front());
  for (const Choice<Enum>& choice : choices) {
    if (choice.name == name) return choice.value;
  }
  return choices[0].value;
}

constexpr Choice<RoutingFidelity> kFidelities[] = {{"auto", RoutingFidelity::kAuto},
                                                   {"exact", RoutingFidelity::kExact},
                                                   {"rank_exact", RoutingFidelity::kRankExact},
                                                   {"sampled", RoutingFidelity::kSampled}};
constexpr Choice<Overflow> kOverflows[] = {
    {"drop", Overflow::kDrop}, {"next_choice", Overflow::kNextChoice}, {"pad", Overflow::kPad}};
constexpr Choice<CapacityScope> kScopes[] = {{"batch", CapacityScope::kBatch},
                                             {"rank", CapacityScope::kRank}};

constexpr Choice<bool> kRouters[] = {{"top_k", false}, {"expert_choice", true}};

void read_capacity(Reader& in, RoutingSpec& spec) {
  spec.expert_choice = read_choice(in, "router", kRouters);
  // Below 1 even balanced load is cut; above E/K nothing is, and E/K is under 1000 in every model.
  spec.capacity_factor = in.optional_number("capacity_factor", {.min = 0.1, .max = 1000});
  spec.overflow = read_choice(in, "overflow", kOverflows);
  spec.capacity_scope = read_choice(in, "capacity_scope", kScopes);
  for (const char* key : {"overflow", "capacity_scope"}) {
    if (in.has(key) && !in.given("capacity_factor") && !spec.expert_choice)
      in.fail(key, "has no effect without a capacity",
              "write capacity_factor: 1.25, or leave it out");
  }
  if (!spec.expert_choice) return;
  if (!spec.capacity_factor) spec.capacity_factor = 1;
  if (in.has("overflow"))
    in.fail("overflow", "has no effect: experts choose as many tokens as they have room for",
            "leave it out, or write router: top_k");
}

/// Whether a token of the model finds its experts inside the groups it keeps.
bool groups_hold_top_k(Reader& root, const RoutingShape& shape, LoadContext& context) {
  if (shape.groups == 0) return true;
  const int held = shape.experts / shape.groups * shape.topk_groups;
  if (held >= shape.top_k) return true;
  context.diagnostics.add({root.where("model"), "model",
                           fmt::format("a token keeps {} experts ({} of {} groups) and chooses {}",
                                       held, shape.topk_groups, shape.groups, shape.top_k),
                           "correct n_group, topk_group or the number of experts in its config"});
  return false;
}

/// The kind's own fields, and whether it can route this model.
void read_kind(Reader& in, const RoutingShape& shape, Overflow overflow, LoadContext& context) {
  const std::size_t before = context.diagnostics.size();
  const std::unique_ptr<ExpertRouting> routing = read_expert_routing(in);
  in.reject_unknown_keys();
  if (shape.layers == 0 || context.diagnostics.size() > before) return;
  try {
    routing->check(shape);
    if (overflow == Overflow::kNextChoice && !routing->knows_next(shape)) {
      in.fail("overflow",
              fmt::format("the recording has a token's {} experts, and none it would take next",
                          shape.top_k),
              "write drop or pad, or a generator such as latent_logit");
      return;
    }
    const std::string remark = routing->remark(shape);
    if (!remark.empty()) context.warnings.push_back(remark);
  } catch (const InputError& error) {
    for (const Diagnostic& diagnostic : error.diagnostics()) context.diagnostics.add(diagnostic);
  }
}

}  // namespace

bool name_routing_files_absolutely(Document& document, LoadContext& context) {
  const std::size_t before = context.diagnostics.size();
  std::vector<Change> changes;
  {
    Reader root(document, context.diagnostics);
    if (!root.is_map("routing")) return true;
    Reader section = root.map("routing");
    find_files(section, context, changes);
  }
  for (const Change& change : changes) document.set(change.path, change.value, change.where);
  return context.diagnostics.size() == before;
}

RoutingSpec read_routing(Reader& root, const RoutingShape& shape, LoadContext& context) {
  RoutingSpec spec;
  Reader in = root.map_or_empty("routing");
  spec.policy.where = in.where("kind");
  if (in.is_text("kind")) spec.policy.name = in.text("kind");
  if (root.is_map("routing")) spec.policy.params = root.raw("routing");
  spec.fidelity = read_choice(in, "fidelity", kFidelities);
  read_capacity(in, spec);
  spec.mix_schedule = find_schedule(in);
  spec.hot_from_s = find_hot_from(in);
  const auto seed = in.optional_integer("seed", {.min = 0, .max = 9.2e18});
  if (seed) spec.seed = static_cast<std::uint64_t>(*seed);
  const bool sound = groups_hold_top_k(root, shape, context);
  read_kind(in, sound ? shape : RoutingShape(), spec.overflow, context);
  context.resolve("routing.kind", spec.policy.name,
                  in.has("kind") ? context.source(spec.policy.where) : "default");
  return spec;
}

}  // namespace moesim
