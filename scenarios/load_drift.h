#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace moesim {

class Reader;

/// How popularity moves between experts in simulated time (`drift` of scenario.md's `routing`).
/// What moves is a standard normal score of every expert; kinds turn scores into loads, so that the
/// set of loads stays what the kind says and only their owners change.
struct LoadDrift {
  enum class Kind : std::uint8_t {
    kNone,
    kAr1,       ///< scores forget exponentially: half the correlation is left after half_life_s
    kRotation,  ///< scores turn into other ones and back: the correlation is the cosine of an angle
                ///< that grows by 60 degrees in half_life_s, so all returns after six of them
    kStep,      ///< scores are drawn anew every half_life_s
  };
  Kind kind = Kind::kNone;
  double half_life_s = 0;
  [[nodiscard]] bool any() const { return kind != Kind::kNone; }

  /// Load is constant for so long: half_life_s for steps, an eighth of it for the others, so that
  /// neighbours correlate by 0.92 or more.
  [[nodiscard]] double epoch_s() const;
  /// Scores of the experts of a layer in an epoch, given those of epoch 0. Costs the same for every
  /// epoch, at most 80 draws an expert: ar1 forgets entirely what is ten half-lives old.
  [[nodiscard]] std::vector<double> scores(std::vector<double> first, std::uint64_t seed, int layer,
                                           std::uint64_t epoch) const;
};

/// `drift: {kind: ar1 | rotation | step, half_life_s: S}`; none if the key is absent.
[[nodiscard]] LoadDrift read_drift(Reader& in);

/// Independent standard normal scores of the experts of a layer.
[[nodiscard]] std::vector<double> normal_scores(int experts, std::uint64_t seed, int layer);

/// `values`, the largest to the expert with the highest score.
[[nodiscard]] std::vector<double> given_by_rank(std::vector<double> values,
                                                const std::vector<double>& scores);

}  // namespace moesim
