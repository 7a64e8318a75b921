#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "scenarios/expert_routing.h"
#include "sim/base/random.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Slot j of row t goes to expert (t K + j) mod E of a shuffle of the layer's experts: any run of
/// rows loads all experts alike to one token. What DeepSeek's published profiles were taken with
/// (github deepseek-ai/profile-data), and the ideal that expert placement can reach. Groups are
/// not looked at.
class Balanced final : public ExpertRouting {
 public:
  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                   std::uint64_t seed, std::uint64_t /*epoch*/) const override {
    RoutingTable table = empty_table(shape, size);
    const auto experts = static_cast<std::uint64_t>(shape.experts);
    for (int layer = 0; layer < shape.layers; ++layer) {
      const std::vector<int> order = shuffled(shape.experts, seed, layer);
      std::uint64_t slot = 0;
      for (std::uint64_t row = 0; row < table.rows(); ++row) {
        for (int rank = 0; rank < shape.top_k; ++rank) {
          table.set(row, layer, rank, order[static_cast<std::size_t>(slot)]);
          if (++slot == experts) slot = 0;
        }
      }
    }
    return table;
  }
  [[nodiscard]] bool consecutive_rows() const override { return true; }

 private:
  static std::vector<int> shuffled(int experts, std::uint64_t seed, int layer) {
    Rng rng(seed, "balanced_order", static_cast<std::uint64_t>(layer));
    std::vector<int> order;
    for (int e = 0; e < experts; ++e) {
      order.push_back(e);
      std::swap(order.back(), order[rng.below(static_cast<std::uint32_t>(e) + 1)]);
    }
    return order;
  }
};

const Register<ExpertRouting> kBalanced{
    "balanced", "consecutive tokens take the experts in turn: the ideal load",
    [](Reader&) { return std::make_unique<Balanced>(); }};

}  // namespace
}  // namespace moesim
