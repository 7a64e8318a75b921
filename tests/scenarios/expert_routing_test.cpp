// What every kind of routing promises, and how a kind is read.
#include <doctest/doctest.h>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "models/hf_config.h"
#include "models/model.h"
#include "sim/base/registry.h"
#include "tests/scenarios/expert_routing/expert_routing_support.h"

using namespace moesim;

namespace {

/// A section of each kind with all of its fields; kinds that read a recorded file have tests of
/// their own.
const std::map<std::string, std::vector<std::string>>& sections() {
  static const std::map<std::string, std::vector<std::string>> all = {
      {"uniform", {"{kind: uniform}"}},
      {"balanced", {"{kind: balanced}"}},
      {"zipf", {"{kind: zipf, exponent: 1.1, drift: {kind: ar1, half_life_s: 60}}"}},
      {"power_law",
       {"{kind: power_law, exponent: 1.01, tokens: 512, drift: {kind: step, half_life_s: 60}}"}},
      {"lognormal", {"{kind: lognormal, sigma: 1.05, drift: {kind: rotation, half_life_s: 60}}"}},
      {"dirichlet", {"{kind: dirichlet, concentration: 0.3, drift: {kind: ar1, half_life_s: 9}}"}},
      {"latent_logit",
       {"{kind: latent_logit, template_start: 2, drift: {kind: ar1, half_life_s: 60}}",
        "{kind: latent_logit, domain_mix: {a: 1, b: 1}}", "{kind: latent_logit}"}},
      {"markov",
       {"{kind: markov, persistence: 0.6, base: {kind: zipf, exponent: 1}}",
        "{kind: markov, persistence: 1}"}},
      {"hash", {"{kind: hash, vocabulary: 500, exponent: 1}", "{kind: hash, per_layer: false}"}},
      {"hot_expert",
       {"{kind: hot_expert, fraction: 0.7, experts: 2, layers: [0, 2], from_s: 0, base: {kind: "
        "markov, persistence: 0.3}}",
        "{kind: hot_expert, fraction: 1, from_s: 30}"}},
  };
  return all;
}

const std::vector<RoutingShape> kShapes = {
    {3, 8, 2, 0, 0}, {3, 8, 8, 0, 0},  {3, 5, 1, 0, 0},    {3, 60, 4, 0, 0},
    {3, 3, 3, 0, 0}, {3, 64, 8, 8, 4}, {3, 512, 10, 0, 0}, {3, 16, 8, 8, 4},
};

bool is_recorded(const std::string& kind) {
  return kind == "trace" || kind == "loads" || kind == "step_loads";
}

/// Ids below E, none twice in a row and layer.
bool sound(const RoutingTable& table) {
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    for (int layer = 0; layer < table.shape().layers; ++layer) {
      std::set<int> ids;
      for (int rank = 0; rank < table.shape().top_k; ++rank)
        ids.insert(table.expert(row, layer, rank));
      if (*ids.begin() < 0 || *ids.rbegin() >= table.shape().experts) return false;
      if (ids.size() != static_cast<std::size_t>(table.shape().top_k)) return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("every kind gives every token top_k distinct experts, in laid-out sequences") {
  for (const std::string& kind : Registry<ExpertRouting>::names()) {
    if (is_recorded(kind)) continue;
    CAPTURE(kind);
    REQUIRE(sections().contains(kind));
    for (const std::string& section : sections().at(kind)) {
      CAPTURE(section);
      const auto routing = kind_of(section);
      for (const RoutingShape& shape : kShapes) {
        CAPTURE(shape.experts);
        for (const std::uint64_t epoch : {0U, 1U, 1000U}) {
          CHECK_NOTHROW(routing->check(shape));
          const RoutingTable table = routing->table(shape, {3, 2, 5}, 7, epoch);
          REQUIRE(table.shape() == shape);
          REQUIRE(table.rows() == 21);
          REQUIRE(table.sequences.size() == 3);
          CHECK(table.sequences[2].first_row == 14);
          CHECK(table.sequences[2].rows == 7);
          CHECK(table.sequences[2].prompt_rows == 2);
          CHECK(sound(table));
        }
      }
    }
  }
}

TEST_CASE("every kind is a pure function of its arguments, and of the seed") {
  for (const auto& entry : sections()) {
    const std::vector<std::string>& list = entry.second;
    CAPTURE(entry.first);
    const RoutingShape shape{4, 64, 6, 0, 0};
    const RoutingTable first = kind_of(list[0])->table(shape, {4, 0, 20}, 7, 3);
    const auto routing = kind_of(list[0]);
    static_cast<void>(routing->table({2, 8, 2, 0, 0}, {1, 0, 3}, 9, 0));
    CHECK(same_rows(first, routing->table(shape, {4, 0, 20}, 7, 3)));
    CHECK_FALSE(same_rows(first, routing->table(shape, {4, 0, 20}, 8, 3)));
  }
}

namespace {

/// Most groups that a token of a table reaches at a layer.
std::size_t most_groups(const RoutingTable& table) {
  const RoutingShape& shape = table.shape();
  std::size_t most = 0;
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    for (int layer = 0; layer < shape.layers; ++layer) {
      std::set<int> groups;
      for (int rank = 0; rank < shape.top_k; ++rank)
        groups.insert(table.expert(row, layer, rank) / (shape.experts / shape.groups));
      most = std::max(most, groups.size());
    }
  }
  return most;
}

}  // namespace

TEST_CASE("with groups, tokens of all kinds but two stay inside the groups they keep") {
  const std::set<std::string> exceptions = {"balanced", "hash"};  // scenarios/README.md
  for (const auto& [kind, list] : sections()) {
    const std::string& name = kind;
    CAPTURE(name);
    for (const std::string& section : list) {
      CAPTURE(section);
      for (const RoutingShape& shape :
           {RoutingShape{3, 64, 6, 8, 3}, RoutingShape{3, 16, 8, 8, 4}, RoutingShape{3, 8, 2, 4, 1},
            RoutingShape{3, 256, 8, 8, 4}}) {
        CAPTURE(shape.experts);
        const auto kept = static_cast<std::size_t>(shape.topk_groups);
        for (const std::uint64_t epoch : {0U, 1000U}) {
          const std::size_t most =
              most_groups(kind_of(section)->table(shape, {5, 0, 60}, 7, epoch));
          CHECK((exceptions.contains(kind) ? most > kept : most == kept));
        }
      }
    }
  }
}

TEST_CASE("kinds with a base keep the groups whatever the base does") {
  const RoutingShape shape{2, 64, 6, 8, 3};
  for (const char* base : {"balanced", "hash", "latent_logit", "zipf, exponent: 2"}) {
    const std::string end = std::string(", base: {kind: ") + base + "}}";
    CAPTURE(end);
    for (const char* kind : {"{kind: markov, persistence: 0.5", "{kind: hot_expert, fraction: 1"})
      CHECK(most_groups(kind_of(kind + end)->table(shape, {5, 0, 60}, 7, 0)) == 3);
  }
}

TEST_CASE("a smaller table is the beginning of a larger one, sequence by sequence") {
  for (const auto& [kind, list] : sections()) {
    if (kind == "balanced") continue;  // its rows go on from one sequence to the next
    const std::string& name = kind;
    CAPTURE(name);
    const RoutingShape shape{4, 64, 6, 8, 2};
    const RoutingTable small = kind_of(list[0])->table(shape, {3, 0, 8}, 7, 0);
    const RoutingTable large = kind_of(list[0])->table(shape, {5, 0, 24}, 7, 0);
    for (std::uint64_t s = 0; s < 3; ++s) {
      for (std::uint64_t i = 0; i < 8; ++i) {
        for (int cell = 0; cell < 24; ++cell)
          REQUIRE(small.expert(s * 8 + i, cell / 6, cell % 6) ==
                  large.expert(s * 24 + i, cell / 6, cell % 6));
      }
    }
  }
}

TEST_CASE("drift changes the table with the epoch, and without drift nothing does") {
  const RoutingShape shape{2, 64, 6, 0, 0};
  const auto changes = [&](const std::string& section) {
    const auto routing = kind_of(section);
    return !same_rows(routing->table(shape, {4, 0, 20}, 7, 0),
                      routing->table(shape, {4, 0, 20}, 7, 5));
  };
  CHECK(changes("{kind: zipf, exponent: 1, drift: {kind: ar1, half_life_s: 60}}"));
  CHECK_FALSE(changes("{kind: zipf, exponent: 1}"));
  CHECK(
      changes("{kind: markov, persistence: 0.5, base: {kind: lognormal, sigma: 1, drift: {kind: "
              "step, half_life_s: 60}}}"));
  CHECK_FALSE(changes("{kind: uniform}"));
  CHECK(kind_of("{kind: zipf, exponent: 1}")->epoch_s() > 1e300);
  CHECK(kind_of("{kind: zipf, exponent: 1, drift: {kind: ar1, half_life_s: 60}}")->epoch_s() ==
        7.5);
  CHECK(kind_of("{kind: hot_expert, fraction: 0.5, base: {kind: zipf, exponent: 1, drift: {kind: "
                "step, half_life_s: 60}}}")
            ->epoch_s() == 60);
}

TEST_CASE("drift beside a base is the base's") {
  const RoutingShape shape{2, 64, 6, 0, 0};
  const std::string drift = "drift: {kind: step, half_life_s: 60}";
  const std::string zipf = "kind: zipf, exponent: 1";
  struct Case {
    std::string outer, inner;
  };
  const Case kinds[] = {
      {"kind: markov, persistence: 0.5", ""},
      {"kind: hot_expert, fraction: 0.5", ""},
      {"kind: markov, persistence: 0.5", "kind: hot_expert, fraction: 0.5, base: "}};
  for (const Case& c : kinds) {
    CAPTURE(c.outer);
    CAPTURE(c.inner);
    const std::string close = c.inner.empty() ? "" : "}";
    const std::string open = c.inner.empty() ? "{" : "{" + c.inner + "{";
    const auto beside =
        kind_of("{" + c.outer + ", " + drift + ", base: " + open + zipf + "}" + close + "}");
    const auto below =
        kind_of("{" + c.outer + ", base: " + open + zipf + ", " + drift + "}" + close + "}");
    CHECK(beside->epoch_s() == 60);
    CHECK(same_rows(beside->table(shape, {4, 0, 20}, 7, 5), below->table(shape, {4, 0, 20}, 7, 5)));
  }
}

TEST_CASE("a base of every kind that drifts can be told to") {
  for (const std::string base :
       {"zipf, exponent: 1", "power_law, exponent: 1", "lognormal, sigma: 1",
        "dirichlet, concentration: 1", "latent_logit"}) {
    CAPTURE(base);
    CHECK(kind_of("{kind: markov, persistence: 0.5, drift: {kind: step, half_life_s: 60}, base: "
                  "{kind: " +
                  base + "}}")
              ->epoch_s() == 60);
  }
}

TEST_CASE("a field belongs to the kinds that read it, and to no other") {
  // Each field alone, in each kind: refused as another kind's exactly where the kind does not read
  // it (then it would be an unknown key).
  const std::map<std::string, std::string> fields = {{"exponent", "1"},
                                                     {"tokens", "64"},
                                                     {"sigma", "1"},
                                                     {"concentration", "1"},
                                                     {"parameters", "x"},
                                                     {"template_start", "1"},
                                                     {"persistence", "0.5"},
                                                     {"base", "{kind: uniform}"},
                                                     {"fraction", "0.5"},
                                                     {"experts", "1"},
                                                     {"layers", "[0]"},
                                                     {"from_s", "1"},
                                                     {"path", "x"},
                                                     {"mode", "row"},
                                                     {"replace", "true"},
                                                     {"domain_mix", "{math: 1}"},
                                                     {"adapt", "layers"},
                                                     {"order", "keyed"},
                                                     {"scaling", "multinomial"},
                                                     {"vocabulary", "500"},
                                                     {"per_layer", "false"},
                                                     {"drift", "{kind: ar1, half_life_s: 1}"}};
  for (const std::string& kind : Registry<ExpertRouting>::names()) {
    for (const auto& entry : fields) {
      const std::string field = entry.first, value = entry.second;
      CAPTURE(kind);
      CAPTURE(field);
      const Document document =
          Document::parse("{kind: " + kind + ", " + field + ": " + value + "}", "routing.yaml");
      Diagnostics alone, checked;
      Reader plain(document, alone);
      static_cast<void>(plain.has("kind"));
      static_cast<void>(Registry<ExpertRouting>::find(kind)->make(plain));
      plain.reject_unknown_keys();
      Reader in(document, checked);
      static_cast<void>(read_expert_routing(in));
      in.reject_unknown_keys();
      const auto has = [&](const Diagnostics& list, const std::string& problem) {
        try {
          list.throw_if_any();
        } catch (const InputError& error) {
          for (const Diagnostic& d : error.diagnostics()) {
            if (d.key == field && d.problem.find(problem) != std::string::npos) return true;
          }
        }
        return false;
      };
      CHECK(has(alone, "unknown key") == has(checked, "is not a field of kind: " + kind));
    }
  }
}

TEST_CASE("the shape of a model is that of its MoE layers") {
  const RoutingShape v3 = routing_shape(load_model("deepseek-ai/DeepSeek-V3", "", {}));
  CHECK(v3 == RoutingShape{58, 256, 8, 8, 4});
  const RoutingShape mixtral = routing_shape(load_model("mistralai/Mixtral-8x7B-v0.1", "", {}));
  CHECK(mixtral == RoutingShape{32, 8, 2, 0, 0});
}
