#include <memory>
#include <string>
#include <utility>

#include "scenarios/load_table.h"
#include "scenarios/share_routing.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Independent tokens with the expert loads of a file: what is left of a trace when only counts
/// were logged. Which experts a token takes together, and what its neighbours take, is not in them.
class RecordedLoads final : public ExpertRouting {
 public:
  RecordedLoads(std::string file, const LoadDrift& drift) : file_(std::move(file)), drift_(drift) {}

  void check(const RoutingShape& shape) const override {
    static_cast<void>(read_load_table(file_, shape));
  }
  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                   std::uint64_t seed, std::uint64_t epoch) const override {
    return KnownLoads(read_load_table(file_, shape), drift_).table(shape, size, seed, epoch);
  }
  [[nodiscard]] bool independent_tokens() const override { return true; }
  [[nodiscard]] double epoch_s() const override { return drift_.epoch_s(); }
  TakesDrift take_drift(const LoadDrift& drift) override {
    if (drift_.any()) return TakesDrift::kHasOne;
    drift_ = drift;
    return TakesDrift::kYes;
  }

 private:
  std::string file_;
  LoadDrift drift_;
};

const Register<ExpertRouting> kLoads{
    "loads", "independent tokens with the expert loads of a file", [](Reader& in) {
      std::string file = in.text("path");
      return std::make_unique<RecordedLoads>(std::move(file), read_drift(in));
    }};

}  // namespace
}  // namespace moesim
