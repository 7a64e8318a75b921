#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scenarios/domain_mix.h"
#include "scenarios/expert_routing.h"
#include "scenarios/latent_parameters.h"
#include "scenarios/latent_tokens.h"
#include "scenarios/load_drift.h"
#include "sim/base/random.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

class LatentLogit final : public ExpertRouting {
 public:
  LatentLogit(std::optional<std::string> file, int template_start, const LoadDrift& drift,
              std::vector<DomainMix> mix)
      : file_(std::move(file)),
        template_start_(template_start),
        drift_(drift),
        mix_(std::move(mix)) {}

  void check(const RoutingShape& shape) const override {
    const LatentParameters parameters = read();
    const std::size_t given = parameters.by_layer.size();
    if (given == 0 || given == static_cast<std::size_t>(shape.layers)) return;
    throw_input_error({parameters.by_layer_where, "layers",
                       fmt::format("{} layers for a model of {} MoE layers", given, shape.layers),
                       "write one for each, or parameters of all layers"});
  }

  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                   std::uint64_t seed, std::uint64_t epoch) const override {
    LatentParameters parameters = read();
    const std::vector<std::string> names = names_of(mix_);
    if (!names.empty()) parameters.domains = static_cast<int>(names.size());
    LatentTokens tokens(shape, parameters, seed);
    for (int l = 0; l < shape.layers; ++l) {
      const std::vector<double> first = normal_scores(shape.experts, seed, l);
      tokens.add_layer(spread_of(parameters, l, seed), drift_.scores(first, seed, l, epoch));
    }
    RoutingTable table = empty_table(shape, size);
    tokens.fill(table);
    for (int d = 0; d < parameters.domains; ++d) {
      const auto at = static_cast<std::size_t>(d);
      if (names.empty()) {
        table.domains.push_back({d, fmt::format("domain_{}", d), "generated"});
      } else {
        table.domains.push_back({d, names[at], names[at]});
      }
    }
    add_template(table, size, tokens);
    return table;
  }
  [[nodiscard]] RoutingReplay::Options replay(std::uint64_t seed) const override {
    return {.seed = seed, .domain_mix = mix_, .mix_names_domains = true};
  }
  [[nodiscard]] double epoch_s() const override { return drift_.epoch_s(); }
  TakesDrift take_drift(const LoadDrift& drift) override {
    if (drift_.any()) return TakesDrift::kHasOne;
    drift_ = drift;
    return TakesDrift::kYes;
  }
  [[nodiscard]] bool ranks_all() const override { return true; }

 private:
  [[nodiscard]] LatentParameters read() const {
    return file_ ? read_latent_parameters(*file_) : LatentParameters();
  }

  static LatentSpread spread_of(const LatentParameters& parameters, int layer, std::uint64_t seed) {
    const auto at = static_cast<std::size_t>(layer);
    if (!parameters.by_layer.empty()) return parameters.by_layer[at];
    Rng rng(seed, "latent_factors", at);
    const double factor =
        layer == 0 ? parameters.first_layer : std::exp(parameters.layer_spread * rng.normal());
    LatentSpread spread = parameters.spread;
    for (double* const sigma :
         {&spread.layer, &spread.domain, &spread.sequence, &spread.token_class, &spread.slow})
      *sigma *= factor;
    return spread;
  }

  /// The first output tokens of all sequences are those of one more sequence.
  void add_template(RoutingTable& table, const TableSize& size, LatentTokens& tokens) const {
    const int rows = std::min(template_start_, size.decode_rows);
    if (rows == 0) return;
    constexpr std::uint64_t kNumber = 1ULL << 40;  // of no sequence
    RoutingTable start(table.shape(), static_cast<std::uint64_t>(rows));
    tokens.sequence(start, 0, static_cast<std::uint32_t>(rows), kNumber);
    for (const RoutedSequence& sequence : table.sequences) {
      const std::uint64_t first = sequence.first_row + sequence.prompt_rows;
      for (int row = 0; row < rows; ++row) {
        for (int layer = 0; layer < table.shape().layers; ++layer) {
          for (int rank = 0; rank < table.shape().top_k; ++rank) {
            const auto at = static_cast<std::uint64_t>(row);
            table.set(first + at, layer, rank, start.expert(at, layer, rank));
          }
        }
      }
    }
  }

  std::optional<std::string> file_;
  int template_start_;
  LoadDrift drift_;
  std::vector<DomainMix> mix_;  ///< its names are the domains; empty: those of the parameters
};

const Register<ExpertRouting> kLatentLogit{
    "latent_logit", "popularity, domain, sequence, token class and slow drift; fitted to gpt-oss",
    [](Reader& in) {
      std::optional<std::string> file;
      if (in.has("parameters")) file = in.text("parameters");
      // Replay never comes back to the first 32 rows of a sequence (RoutingReplay).
      const auto start =
          in.integer_or("template_start", 0, {.min = 0, .max = RoutingReplay::kTemplateRows});
      const LoadDrift drift = read_drift(in);
      return std::make_unique<LatentLogit>(std::move(file), static_cast<int>(start), drift,
                                           read_domain_mix(in).mixes);
    }};

}  // namespace
}  // namespace moesim
