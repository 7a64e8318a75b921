#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "scenarios/latent_parameters.h"
#include "scenarios/routing_table.h"
#include "sim/base/random.h"

namespace moesim {

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

/// Best first: the top_k of the scores, inside the groups kept if there are any (score of a group:
/// the sum of its two best, as ExpertChooser has it).
class TopExperts {
 public:
  explicit TopExperts(const RoutingShape& shape);
  std::span<const int> of(std::span<const float> scores);

 private:
  struct Group {
    float rank = 0;  ///< least first: the negative score
    float next = 0;  ///< the second best of its scores
    std::size_t first = 0;
  };
  void offer(std::span<const float> scores, std::size_t first, std::size_t count, float floor);
  RoutingShape shape_;
  std::vector<Group> groups_;
  std::vector<int> best_;
  std::vector<float> best_scores_;
  std::size_t offered_ = 0;  ///< of `best_`, so far
};

/// Tokens of the latent-logit generator (routing-traces.md 4.1). Scores of every expert at every
/// layer, token after token of one sequence:
///   z = layer + domain + sequence + class of the token + slow process + Gumbel noise,
/// each term a vector over experts; the top_k of z are the token's experts. The class is one for
/// all layers.
///
/// Every layer alone has the law those terms give. Between layers each term but the first goes on:
/// normal terms as an AR(1) over layers of coefficient layer_rho, the noise as
/// max(g + log layer_rho, fresh + log(1 - layer_rho)), which is Gumbel again. A real router reads a
/// hidden state that the layer before changed a little, so what it tells apart at one layer it
/// tells apart at the next, by experts of other numbers: vectors are kept in an order of their own,
/// and each layer has a permutation from there to its experts (of groups, and inside them).
class LatentTokens {
 public:
  /// `parameters` must outlive the object.
  LatentTokens(const RoutingShape& shape, const LatentParameters& parameters, std::uint64_t seed);

  /// The next layer, first to last. `popularity` holds a standard normal score of every expert.
  void add_layer(const LatentSpread& spread, const std::vector<double>& popularity);
  /// Domain of a sequence by its number: so many in a row as there are domains have each once.
  [[nodiscard]] int domain_of(std::uint64_t number) const;
  /// Fills all sequences of a table, and says their domains. Precondition: all layers are there.
  void fill(RoutingTable& table);
  /// Fills rows of a sequence; the number is of its random streams. Precondition: all layers are
  /// there.
  void sequence(RoutingTable& table, std::uint64_t first_row, std::uint32_t rows,
                std::uint64_t number);

 private:
  /// The terms of one layer that all sequences share; vectors in the order of terms, not experts.
  struct Layer {
    LatentSpread spread;
    std::vector<int> expert;     ///< [place] whose score stands there
    std::vector<float> base;     ///< [place]
    std::vector<float> domain;   ///< [domain][place]
    std::vector<float> classes;  ///< [class][place]
  };

  [[nodiscard]] std::size_t experts() const { return static_cast<std::size_t>(shape_.experts); }
  [[nodiscard]] std::vector<int> permutation(std::uint64_t layer) const;
  void go_on(std::vector<float>& values, Rng rng) const;
  [[nodiscard]] std::size_t draw_class(Rng& rng) const;
  void start(int domain, std::uint64_t number);
  void score(std::size_t layer, std::size_t token_class, const float* fresh);
  void step(std::size_t layer, const float* fresh);

  RoutingShape shape_;
  const LatentParameters& parameters_;
  std::uint64_t seed_;
  float rho_, fresh_;  ///< of normal terms over layers: what stays, what is new
  float log_rho_, log_fresh_;
  NoisePool normal_, gumbel_;
  TopExperts top_;
  std::vector<Layer> layers_;
  std::vector<double> class_below_;
  std::vector<float> domain_, classes_;  ///< standard normals of the layer added last
  std::vector<float> fixed_, slow_;      ///< [layer][place]
  std::vector<float> score_, noise_, innovation_;
};

}  // namespace moesim
