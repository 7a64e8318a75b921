#include "sim/steptime/routing_tables.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace moesim {

RoutingTables::RoutingTables(std::unique_ptr<ExpertRouting> routing, const RoutingShape& shape,
                             std::uint64_t seed, const TableSize& size)
    : routing_(std::move(routing)), shape_(shape), seed_(seed), size_(size) {
  make(0);
}

void RoutingTables::make(std::uint64_t epoch) {
  epoch_ = epoch;
  const double length_ns = routing_->epoch_s() * 1e9;
  const auto begin_of = [length_ns](std::uint64_t number) {
    constexpr double kFar = 9e18;
    const double begin = number == 0 ? 0 : static_cast<double>(number) * length_ns;
    return begin < kFar ? static_cast<std::int64_t>(begin)
                        : std::numeric_limits<std::int64_t>::max();
  };
  epoch_begin_ns_ = begin_of(epoch);
  epoch_end_ns_ = begin_of(epoch + 1);
  replay_.reset();
  table_ = std::make_unique<RoutingTable>(routing_->table(shape_, size_, seed_, epoch));
  RoutingReplay::Options options = routing_->replay(seed_);
  // Sequences of independent tokens mean nothing: with any row for any token, a step meets the
  // whole table, not the few rows its requests would share.
  if (routing_->independent_tokens()) options.mode = RoutingReplay::Mode::kRow;
  replay_ = std::make_unique<RoutingReplay>(*table_, options);
}

bool RoutingTables::advance(std::int64_t now_ns) {
  if (!outdated(now_ns)) return false;
  make(static_cast<std::uint64_t>(static_cast<double>(now_ns) / (routing_->epoch_s() * 1e9)));
  return true;
}

TableSize table_size(const RoutingShape& shape, int mean_prompt, int mean_output) {
  constexpr double kBytes = 4e6;
  const double row =
      static_cast<double>(shape.layers) * shape.top_k * (shape.experts <= 256 ? 1 : 2);
  const double rows = std::clamp(kBytes / row, 4096.0, 65536.0);
  // Sequences as long as the run's requests, within reason: at least 32 of them.
  const double prompt = std::clamp<double>(mean_prompt, 16, rows / 64);
  const double output = std::clamp<double>(mean_output, 64, rows / 64);
  TableSize size;
  size.prompt_rows = static_cast<int>(prompt);
  size.decode_rows = static_cast<int>(output);
  size.sequences = static_cast<int>(rows / (prompt + output));
  return size;
}

}  // namespace moesim
