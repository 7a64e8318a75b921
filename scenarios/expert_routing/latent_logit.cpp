#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "scenarios/expert_routing.h"
#include "scenarios/latent_parameters.h"
#include "scenarios/load_drift.h"
#include "sim/base/random.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Values drawn once and read from random places on: a token needs L x E numbers of each kind, and
/// reading runs of a pool is twenty times as fast as drawing them. Two runs of 256 share numbers in
/// one case of 128, and then shifted against each other, so that no expert gets the same twice.
class NoisePool {
 public:
  template <class Draw>
  NoisePool(int run, Draw draw) {
    for (std::size_t i = 0; i < kSize; ++i) values_.push_back(static_cast<float>(draw()));
    for (std::size_t i = 0; i < static_cast<std::size_t>(run); ++i) values_.push_back(values_[i]);
  }
  [[nodiscard]] const float* run(std::uint64_t bits) const { return &values_[bits % kSize]; }

 private:
  static constexpr std::size_t kSize = 1U << 16;
  std::vector<float> values_;
};

/// A matrix of independent normals, [rows][experts].
std::vector<float> normals(std::size_t count, double sigma, Rng rng) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(sigma * rng.normal());
  return values;
}

/// The terms of one layer that all sequences share.
struct LayerTerms {
  LatentSpread spread;
  std::vector<double> base;    ///< [expert]
  std::vector<float> domain;   ///< [domain][expert]
  std::vector<float> classes;  ///< [class][expert]
};

/// Best first: the top_k of the scores, inside the groups kept if there are any (score of a group:
/// the sum of its two best, as ExpertChooser has it).
class TopExperts {
 public:
  explicit TopExperts(const RoutingShape& shape)
      : shape_(shape), groups_(static_cast<std::size_t>(std::max(shape.groups, 1))) {}

  std::span<const int> of(std::span<const float> scores) {
    best_.clear();
    if (shape_.groups == 0) {
      offer(scores, 0, shape_.experts);
      return best_;
    }
    const int size = shape_.experts / shape_.groups;
    for (int g = 0; g < shape_.groups; ++g) {
      const auto own = scores.subspan(static_cast<std::size_t>(g) * static_cast<std::size_t>(size),
                                      static_cast<std::size_t>(size));
      float first = own[0], second = size == 1 ? 0 : -std::numeric_limits<float>::infinity();
      for (const float score : own.subspan(1)) {
        second = std::max(second, std::min(first, score));
        first = std::max(first, score);
      }
      groups_[static_cast<std::size_t>(g)] = {-(first + second), g};
    }
    std::ranges::partial_sort(groups_, groups_.begin() + shape_.topk_groups);
    for (int i = 0; i < shape_.topk_groups; ++i)
      offer(scores, groups_[static_cast<std::size_t>(i)].second * size, size);
    return best_;
  }

 private:
  void offer(std::span<const float> scores, int first, int count) {
    const auto top_k = static_cast<std::size_t>(shape_.top_k);
    const auto better = [&](int a, int b) {
      return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
    };
    for (int e = first; e < first + count; ++e) {
      if (best_.size() == top_k) {
        if (!better(e, best_.back())) continue;
        best_.pop_back();
      }
      best_.insert(std::ranges::upper_bound(best_, e, better), e);
    }
  }

  RoutingShape shape_;
  std::vector<std::pair<float, int>> groups_;  ///< negative score, group
  std::vector<int> best_;
};

/// Scores of every expert at every layer, token after token of one sequence:
///   z = layer + domain + sequence + class of the token + slow process + Gumbel noise,
/// each term a vector over experts; the top_k of z are the token's experts. The class is one for
/// all layers (routing-traces.md 4.1). That ties layers together, but far too little: the next
/// layer's first choice shares 0.01 of its entropy with this one's, 0.35 in the data fitted to.
class Walk {
 public:
  Walk(const RoutingShape& shape, const LatentParameters& parameters, std::uint64_t seed)
      : shape_(shape),
        parameters_(parameters),
        seed_(seed),
        normal_(shape.experts,
                [rng = Rng(seed, "latent_normals")]() mutable { return rng.normal(); }),
        gumbel_(
            shape.experts,
            [rng = Rng(seed, "latent_gumbels")]() mutable { return -std::log(rng.exponential()); }),
        top_(shape),
        score_(experts()) {
    double sum = 0;
    for (int c = 1; c <= parameters.classes; ++c) class_below_.push_back(sum += 1.0 / c);
  }

  void add_layer(const LatentSpread& spread, const std::vector<double>& popularity) {
    const auto l = static_cast<std::uint64_t>(layers_.size());
    const auto domains = static_cast<std::size_t>(parameters_.domains);
    const auto classes = static_cast<std::size_t>(parameters_.classes);
    LayerTerms terms{spread, popularity, {}, {}};
    for (double& value : terms.base) value *= spread.layer;
    terms.domain = normals(domains * experts(), spread.domain, Rng(seed_, "latent_domains", l));
    terms.classes =
        normals(classes * experts(), spread.token_class, Rng(seed_, "latent_classes", l));
    layers_.push_back(std::move(terms));
  }

  /// Fills rows of a sequence; the number is of its random streams. Returns its domain.
  int sequence(RoutingTable& table, std::uint64_t first_row, std::uint32_t rows,
               std::uint64_t number) {
    Rng rng(seed_, "latent_tokens", number);
    const auto domain =
        static_cast<int>(rng.below(static_cast<std::uint32_t>(parameters_.domains)));
    start(domain, number);
    std::size_t token_class = draw_class(rng);
    for (std::uint32_t i = 0; i < rows; ++i) {
      if (i > 0 && rng.uniform() >= parameters_.class_stay) token_class = draw_class(rng);
      for (std::size_t l = 0; l < layers_.size(); ++l) {
        const std::uint64_t bits = rng.next();
        score(l, token_class, gumbel_.run(bits));
        const std::span<const int> best = top_.of(score_);
        for (int rank = 0; rank < shape_.top_k; ++rank)
          table.set(first_row + i, static_cast<int>(l), rank, best[static_cast<std::size_t>(rank)]);
        step(l, normal_.run(bits >> 32));
      }
    }
    return domain;
  }

 private:
  [[nodiscard]] std::size_t experts() const { return static_cast<std::size_t>(shape_.experts); }

  std::size_t draw_class(Rng& rng) const {
    const double mark = rng.uniform() * class_below_.back();
    return static_cast<std::size_t>(std::ranges::upper_bound(class_below_, mark) -
                                    class_below_.begin());
  }

  /// What stays for the sequence, and its slow process at a typical value.
  void start(int domain, std::uint64_t number) {
    fixed_.assign(layers_.size() * experts(), 0);
    slow_.assign(layers_.size() * experts(), 0);
    for (std::size_t l = 0; l < layers_.size(); ++l) {
      const LayerTerms& terms = layers_[l];
      const float* const of_domain = &terms.domain[static_cast<std::size_t>(domain) * experts()];
      Rng rng(seed_, "latent_sequences", (number << 16) + l);
      for (std::size_t e = 0; e < experts(); ++e) {
        const double own = terms.base[e] + terms.spread.sequence * rng.normal();
        fixed_[l * experts() + e] = static_cast<float>(own) + of_domain[e];
      }
      for (std::size_t e = 0; e < experts(); ++e)
        slow_[l * experts() + e] = static_cast<float>(terms.spread.slow * rng.normal());
    }
  }

  void score(std::size_t l, std::size_t token_class, const float* gumbel) {
    const float* const fixed = &fixed_[l * experts()];
    const float* const slow = &slow_[l * experts()];
    const float* const of_class = &layers_[l].classes[token_class * experts()];
    float* const score = score_.data();
    for (std::size_t e = 0; e < experts(); ++e)
      score[e] = fixed[e] + slow[e] + of_class[e] + gumbel[e];
  }

  /// The slow process one token on: x' = rho x + sigma sqrt(1 - rho^2) e.
  void step(std::size_t l, const float* normal) {
    const LatentSpread& spread = layers_[l].spread;
    const auto rho = static_cast<float>(spread.slow_rho);
    const auto fresh =
        static_cast<float>(spread.slow * std::sqrt(1 - spread.slow_rho * spread.slow_rho));
    float* const slow = &slow_[l * experts()];
    for (std::size_t e = 0; e < experts(); ++e) slow[e] = rho * slow[e] + fresh * normal[e];
  }

  RoutingShape shape_;
  const LatentParameters& parameters_;
  std::uint64_t seed_;
  NoisePool normal_, gumbel_;
  TopExperts top_;
  std::vector<LayerTerms> layers_;
  std::vector<double> class_below_;
  std::vector<float> fixed_, slow_;  ///< [layer][expert]
  std::vector<float> score_;
};

class LatentLogit final : public ExpertRouting {
 public:
  LatentLogit(std::optional<std::string> file, int template_start, const LoadDrift& drift)
      : file_(std::move(file)), template_start_(template_start), drift_(drift) {}

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
    const LatentParameters parameters = read();
    Walk walk(shape, parameters, seed);
    for (int l = 0; l < shape.layers; ++l) {
      const std::vector<double> first = normal_scores(shape.experts, seed, l);
      walk.add_layer(spread_of(parameters, l, seed), drift_.scores(first, seed, l, epoch));
    }
    RoutingTable table = empty_table(shape, size);
    for (RoutedSequence& sequence : table.sequences)
      sequence.domain = static_cast<std::uint16_t>(
          walk.sequence(table, sequence.first_row, sequence.rows, sequence.source_id));
    for (int d = 0; d < parameters.domains; ++d)
      table.domains.push_back({d, fmt::format("domain_{}", d), "generated"});
    add_template(table, size, walk);
    return table;
  }
  [[nodiscard]] double epoch_s() const override { return drift_.epoch_s(); }

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
  void add_template(RoutingTable& table, const TableSize& size, Walk& walk) const {
    const int rows = std::min(template_start_, size.decode_rows);
    if (rows == 0) return;
    constexpr std::uint64_t kNumber = 1ULL << 40;  // of no sequence
    RoutingTable start(table.shape(), static_cast<std::uint64_t>(rows));
    walk.sequence(start, 0, static_cast<std::uint32_t>(rows), kNumber);
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
};

const Register<ExpertRouting> kLatentLogit{
    "latent_logit", "popularity, domain, sequence, token class and slow drift; fitted to gpt-oss",
    [](Reader& in) {
      std::optional<std::string> file;
      if (in.has("parameters")) file = in.text("parameters");
      // Replay never comes back to the first 32 rows of a sequence (RoutingReplay).
      const auto start =
          in.integer_or("template_start", 0, {.min = 0, .max = RoutingReplay::kTemplateRows});
      return std::make_unique<LatentLogit>(std::move(file), static_cast<int>(start),
                                           read_drift(in));
    }};

}  // namespace
}  // namespace moesim
