#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "scenarios/expert_routing.h"
#include "scenarios/load_drift.h"

namespace moesim {

/// Kinds whose tokens choose independently of one another, by weights of the layer's experts; a
/// kind says the weights (ExpertChooser says how tokens choose by them).
class ShareRouting : public ExpertRouting {
 public:
  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                   std::uint64_t seed, std::uint64_t epoch) const final;
  [[nodiscard]] bool independent_tokens() const final { return true; }
  [[nodiscard]] double epoch_s() const final { return drift_.epoch_s(); }
  TakesDrift take_drift(const LoadDrift& drift) final {
    if (drift_.any()) return TakesDrift::kHasOne;
    drift_ = drift;
    return TakesDrift::kYes;
  }

 protected:
  explicit ShareRouting(const LoadDrift& drift) : drift_(drift) {}
  /// A layer whose weights are wanted.
  struct Layer {
    const RoutingShape& shape;
    int index = 0;
    std::uint64_t seed = 0;
  };
  /// Scores before any drift: independent standard normals, unless the kind knows who is popular.
  [[nodiscard]] virtual std::vector<double> first_scores(const Layer& layer) const;
  /// Positive weights of the experts of a layer. `scores` are what drifts: a higher score, a larger
  /// weight.
  [[nodiscard]] virtual std::vector<double> weights(const Layer& layer,
                                                    const std::vector<double>& scores) const = 0;

 private:
  LoadDrift drift_;
};

/// Tokens whose loads are known, [layer][expert]: of a file, or of recorded steps.
class KnownLoads final : public ShareRouting {
 public:
  KnownLoads(std::vector<std::vector<double>> loads, const LoadDrift& drift)
      : ShareRouting(drift), loads_(std::move(loads)) {}

 protected:
  [[nodiscard]] std::vector<double> first_scores(const Layer& layer) const override;
  [[nodiscard]] std::vector<double> weights(const Layer& layer,
                                            const std::vector<double>& scores) const override;

 private:
  [[nodiscard]] const std::vector<double>& of(const Layer& layer) const {
    return loads_[static_cast<std::size_t>(layer.index)];
  }
  std::vector<std::vector<double>> loads_;
};

}  // namespace moesim
