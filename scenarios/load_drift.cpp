#include "scenarios/load_drift.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numeric>
#include <utility>

#include "sim/base/random.h"
#include "sim/base/reader.h"

namespace moesim {
namespace {

constexpr std::uint64_t kEpochs = 8;   // in a half-life
constexpr std::uint64_t kMemory = 80;  // epochs: 2^-10 of a score is left after ten half-lives
constexpr double kPi = 3.14159265358979323846;

/// A stream for one layer and epoch; layers are fewer than 2^16.
Rng stream(std::uint64_t seed, const char* name, int layer, std::uint64_t epoch) {
  return {seed, name, (epoch << 16) + static_cast<std::uint64_t>(layer)};
}

void add_normals(std::vector<double>& scores, double scale, Rng rng) {
  for (double& score : scores) score += scale * rng.normal();
}

void scale(std::vector<double>& scores, double factor) {
  for (double& score : scores) score *= factor;
}

/// x_n = r^n x_0 + sqrt(1 - r^2) (e_n + r e_(n-1) + ...): an AR(1) written as its sum, so that any
/// epoch can be had without those before it.
void forget(std::vector<double>& scores, std::uint64_t seed, int layer, std::uint64_t epoch) {
  const double keep = std::pow(0.5, 1.0 / double{kEpochs});
  const std::uint64_t terms = std::min(epoch, kMemory);
  scale(scores, epoch > kMemory ? 0 : std::pow(keep, static_cast<double>(epoch)));
  double weight = std::sqrt(1 - keep * keep);
  for (std::uint64_t age = 0; age < terms; ++age, weight *= keep)
    add_normals(scores, weight, stream(seed, "load_drift", layer, epoch - age));
}

}  // namespace

double LoadDrift::epoch_s() const {
  if (kind == Kind::kNone) return std::numeric_limits<double>::infinity();
  return kind == Kind::kStep ? half_life_s : half_life_s / double{kEpochs};
}

std::vector<double> LoadDrift::scores(std::vector<double> first, std::uint64_t seed, int layer,
                                      std::uint64_t epoch) const {
  if (kind == Kind::kNone || epoch == 0) return first;
  if (kind == Kind::kAr1) forget(first, seed, layer, epoch);
  if (kind == Kind::kRotation) {
    const auto turn = static_cast<double>(epoch % (6 * kEpochs));
    const double angle = turn * (kPi / 3 / double{kEpochs});
    scale(first, std::cos(angle));
    add_normals(first, std::sin(angle), stream(seed, "load_rotation", layer, 0));
  }
  if (kind == Kind::kStep) {
    std::ranges::fill(first, 0.0);
    add_normals(first, 1, stream(seed, "load_step", layer, epoch));
  }
  return first;
}

LoadDrift read_drift(Reader& in) {
  LoadDrift drift;
  if (!in.has("drift")) return drift;
  Reader section = in.map("drift");
  if (!section.has("kind"))
    section.fail("kind", "required key is missing", "write ar1, rotation or step");
  const std::string kind = section.choice_or("kind", {"ar1", "rotation", "step"}, "ar1");
  drift.kind = kind == "ar1"        ? LoadDrift::Kind::kAr1
               : kind == "rotation" ? LoadDrift::Kind::kRotation
                                    : LoadDrift::Kind::kStep;
  drift.half_life_s = section.number("half_life_s", {.min = 1e-3, .max = 1e8});
  section.reject_unknown_keys();
  return drift;
}

std::vector<double> normal_scores(int experts, std::uint64_t seed, int layer) {
  std::vector<double> scores(static_cast<std::size_t>(experts), 0.0);
  add_normals(scores, 1, stream(seed, "load_scores", layer, 0));
  return scores;
}

std::vector<double> given_by_rank(std::vector<double> values, const std::vector<double>& scores) {
  std::ranges::sort(values, std::greater<>{});
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order,
                           [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  std::vector<double> given(scores.size());
  for (std::size_t rank = 0; rank < order.size(); ++rank) given[order[rank]] = values[rank];
  return given;
}

}  // namespace moesim
