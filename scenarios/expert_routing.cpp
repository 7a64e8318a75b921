#include "scenarios/expert_routing.h"

#include <array>
#include <fmt/format.h>
#include <string>
#include <string_view>

#include "models/model.h"
#include "scenarios/load_drift.h"
#include "scenarios/step_replay.h"
#include "sim/base/check.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// A field of `routing` and the kinds it belongs to (scenario.md, `routing`); a test compares this
/// with what the kinds read.
struct KindField {
  const char* name;
  std::string_view kinds;  ///< between spaces
};
constexpr std::array kFields{
    KindField{"exponent", " zipf power_law hash "},
    KindField{"tokens", " power_law "},
    KindField{"sigma", " lognormal "},
    KindField{"concentration", " dirichlet "},
    KindField{"parameters", " latent_logit "},
    KindField{"template_start", " latent_logit "},
    KindField{"persistence", " markov "},
    KindField{"base", " markov hot_expert "},
    KindField{"fraction", " hot_expert "},
    KindField{"experts", " hot_expert "},
    KindField{"layers", " hot_expert "},
    KindField{"from_s", " hot_expert "},
    KindField{"path", " trace loads step_loads "},
    KindField{"mode", " trace "},
    KindField{"replace", " trace "},
    KindField{"adapt", " trace step_loads "},
    KindField{"order", " step_loads "},
    KindField{"scaling", " step_loads "},
    KindField{"domain_mix", " latent_logit trace "},
    KindField{"vocabulary", " hash "},
    KindField{"per_layer", " hash "},
    KindField{"drift", " zipf power_law lognormal dirichlet latent_logit loads markov hot_expert "},
};

/// "zipf or power_law".
std::string names_of(std::string_view kinds) {
  std::string text;
  for (std::size_t at = 1; at < kinds.size();) {
    const std::size_t end = kinds.find(' ', at);
    text += (text.empty() ? "" : " or ") + std::string(kinds.substr(at, end - at));
    at = end + 1;
  }
  return text;
}

}  // namespace

std::unique_ptr<StepReplay> ExpertRouting::steps(const RoutingShape& /*shape*/,
                                                 std::uint64_t /*seed*/) const {
  return nullptr;
}

void ExpertRouting::draw(int /*layer*/, int /*tokens*/, int /*top_k*/, Rng& /*rng*/,
                         std::span<std::uint32_t> /*counts*/) const {
  MOESIM_CHECK(false, "counts are drawn without a table for exchangeable kinds only");
}

std::unique_ptr<ExpertRouting> read_expert_routing(Reader& in) {
  const std::vector<std::string> kinds = Registry<ExpertRouting>::names();
  const std::string kind = in.choice_or("kind", kinds, "");
  const bool known = !kind.empty();
  // The fields of a kind that is refused already are not mistakes of their own.
  for (const KindField& field : kFields) {
    if (!in.has(field.name) || (!known && in.given("kind"))) continue;
    const std::string name = known ? kind : "uniform";
    if (field.kinds.find(" " + name + " ") != std::string_view::npos) continue;
    in.fail(field.name, "is not a field of kind: " + name,
            fmt::format("write kind: {}, or leave it out", names_of(field.kinds)));
  }
  return Registry<ExpertRouting>::find(known ? kind : "uniform")->make(in);
}

std::unique_ptr<ExpertRouting> read_base_routing(Reader& in) {
  Reader section = in.map_or_empty("base");
  const std::string kind = section.is_text("kind") ? section.raw("kind") : "uniform";
  auto base = read_expert_routing(section);
  section.reject_unknown_keys();
  if (!in.has("drift")) return base;
  switch (base->take_drift(read_drift(in))) {
    case ExpertRouting::TakesDrift::kYes:
      break;
    case ExpertRouting::TakesDrift::kHasOne:
      in.fail("drift", "base has a drift of its own", "leave one of the two out");
      break;
    case ExpertRouting::TakesDrift::kRefuses:
      in.fail("drift", fmt::format("moves the loads of base, and kind: {} has none to move", kind),
              "write a base such as {kind: zipf, exponent: 1}, or leave it out");
      break;
  }
  return base;
}

RoutingShape routing_shape(const ModelSpec& model) {
  RoutingShape shape;
  for (const LayerSpec& layer : model.layers) {
    if (!layer.moe) continue;
    if (shape.layers++ > 0) continue;
    shape.experts = layer.num_experts;
    shape.top_k = layer.top_k;
  }
  if (model.router.groups > 1 && shape.layers > 0) {
    shape.groups = model.router.groups;
    shape.topk_groups = model.router.topk_groups;
  }
  return shape;
}

RoutingTable empty_table(const RoutingShape& shape, const TableSize& size) {
  const auto per_sequence = static_cast<std::uint32_t>(size.prompt_rows + size.decode_rows);
  RoutingTable table(shape, static_cast<std::uint64_t>(size.sequences) * per_sequence);
  for (int s = 0; s < size.sequences; ++s) {
    RoutedSequence sequence;
    sequence.first_row = static_cast<std::uint64_t>(s) * per_sequence;
    sequence.rows = per_sequence;
    sequence.prompt_rows = static_cast<std::uint32_t>(size.prompt_rows);
    sequence.source_id = static_cast<std::uint64_t>(s);
    table.sequences.push_back(sequence);
  }
  return table;
}

}  // namespace moesim
