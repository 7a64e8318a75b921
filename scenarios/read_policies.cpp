#include <algorithm>
#include <string>
#include <vector>

#include "scenarios/load_parts.h"

namespace moesim {
namespace {

/// Kinds of routing-traces.md 4 that have no generator yet.
const std::vector<std::string> kLaterKinds = {
    "balanced",     "zipf",   "power_law",  "lognormal", "dirichlet",
    "latent_logit", "markov", "hot_expert", "trace",     "loads"};
const std::vector<std::string> kLaterFields = {
    "exponent", "sigma",      "concentration", "persistence", "base",     "fraction",
    "experts",  "layers",     "from_s",        "parameters",  "path",     "mode",
    "replace",  "domain_mix", "drift",         "seed",        "overflow", "capacity_scope"};

}  // namespace

void reject_not_modelled(Reader& in, const std::vector<std::string>& keys,
                         const std::string& hint) {
  for (const std::string& key : keys) {
    if (in.has(key)) in.fail(key, "'" + key + "' is not modelled yet", hint);
  }
}

Policy read_routing(Reader& root, LoadContext& context) {
  Reader in = root.map_or_empty("routing");
  std::vector<std::string> kinds = {"uniform"};
  kinds.insert(kinds.end(), kLaterKinds.begin(), kLaterKinds.end());
  const std::string kind = in.choice_or("kind", kinds, "uniform");
  Policy policy{.name = "uniform", .params = "{}", .where = in.where("kind")};
  const bool later = kind != "uniform";
  if (later)
    in.fail("kind", "'" + kind + "' is not modelled yet",
            "write kind: uniform, or leave routing out");
  const std::string fidelity =
      in.choice_or("fidelity", {"auto", "exact", "rank_exact", "sampled"}, "auto");
  if (fidelity != "auto")
    in.fail("fidelity", "'" + fidelity + "' is not modelled yet", "leave it out");
  reject_not_modelled(in, {"capacity_factor"}, "leave it out: no assignment is dropped");
  for (const std::string& field : kLaterFields) {
    if (!in.has(field)) continue;
    // The fields of a kind that is refused already are not mistakes of their own.
    if (!later) in.fail(field, "is not a field of kind: uniform", "leave it out");
  }
  in.reject_unknown_keys();
  context.resolve(
      "routing.kind", policy.name,
      root.is_map("routing") && in.has("kind") ? context.source(policy.where) : "default");
  return policy;
}

void read_placement(Reader& root, LoadContext& context) {
  const std::string key = "placement";
  const char* source = root.has(key) ? context.source(root.where(key)) : "default";
  context.resolve(key, "linear", source);
  if (root.is_map(key)) {
    Reader in = root.map(key);
    for (const char* form : {"file", "eplb"}) {
      if (in.has(form))
        in.fail(form, "is not modelled yet", "write placement: linear, or leave it out");
    }
    in.reject_unknown_keys();
    return;
  }
  const std::string placement = root.choice_or(key, {"linear", "round_robin"}, "linear");
  if (placement != "linear") {
    root.fail(key, "'" + placement + "' is not modelled yet",
              "write placement: linear, or leave it out");
  }
}

}  // namespace moesim
