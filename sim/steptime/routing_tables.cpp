#include "sim/steptime/routing_tables.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <utility>

#include "scenarios/next_choices.h"
#include "scenarios/workload.h"

namespace moesim {
namespace {

/// The first nanosecond not before a time, or the last there is.
std::int64_t first_from(double ns) {
  constexpr double kFar = 9e18;
  return ns < kFar ? static_cast<std::int64_t>(std::ceil(ns))
                   : std::numeric_limits<std::int64_t>::max();
}
std::int64_t begin_of(const RequestDomains::Stretch& stretch) {
  return first_from(stretch.from_s * 1e9);
}

}  // namespace

RoutingTables::RoutingTables(std::unique_ptr<ExpertRouting> routing, const RoutingShape& shape,
                             std::uint64_t seed, const TableSize& size, const Workload* requests,
                             bool with_next)
    : routing_(std::move(routing)),
      shape_(shape),
      seed_(seed),
      size_(size),
      requests_(requests),
      with_next_(with_next) {
  make(0);
  find_mix(0);
}

void RoutingTables::make(std::uint64_t epoch) {
  const double length_ns = routing_->epoch_s() * 1e9;  // maybe infinite
  table_in_.begin = epoch == 0 ? 0 : first_from(static_cast<double>(epoch) * length_ns);
  table_in_.end = first_from(static_cast<double>(epoch + 1) * length_ns);
  replay_.reset();
  table_ = std::make_unique<RoutingTable>(routing_->table(shape_, size_, seed_, epoch));
  if (with_next_)
    next_ = std::make_unique<RoutingTable>(
        next_choices(*routing_, *table_, shape_, size_, seed_, epoch));
  RoutingReplay::Options options = routing_->replay(seed_);
  // Sequences of independent tokens mean nothing: with any row for any token, a step meets the
  // whole table, not the few rows its requests would share.
  if (routing_->independent_tokens()) options.mode = RoutingReplay::Mode::kRow;
  replay_ = std::make_unique<RoutingReplay>(*table_, options, requests_);
}

bool RoutingTables::advance(std::int64_t now_ns) {
  const bool another = !table_in_.holds(now_ns);
  if (another)
    make(static_cast<std::uint64_t>(static_cast<double>(now_ns) / (routing_->epoch_s() * 1e9)));
  if (!mix_in_.holds(now_ns)) find_mix(now_ns);
  return another;
}

/// The first mix holds from 0 on, whatever it says.
void RoutingTables::find_mix(std::int64_t now_ns) {
  const auto& all = replay_->stretches();
  const auto next = std::ranges::upper_bound(all.begin() + 1, all.end(), now_ns, {}, begin_of);
  mix_ = static_cast<std::size_t>(next - all.begin()) - 1;
  mix_in_.begin = mix_ == 0 ? 0 : begin_of(all[mix_]);
  mix_in_.end = next == all.end() ? std::numeric_limits<std::int64_t>::max() : begin_of(*next);
}

std::uint64_t RoutingTables::sequence_epochs() const {
  const bool counted = !replay_->replaces() && replay_->mode() == RoutingReplay::Mode::kSequence;
  if (!counted || requests_ == nullptr) return 0;
  std::uint64_t epochs = 0;
  for (std::size_t r = 0; r < requests_->size(); ++r)
    epochs = std::max(epochs, replay_->epoch(r) + 1);
  return epochs;
}

RequestDomains::Stretch RoutingTables::requests() const {
  const auto& all = replay_->stretches();
  const auto some = [](const RequestDomains::Stretch& s) { return s.first < s.last; };
  const auto now = all.begin() + static_cast<std::ptrdiff_t>(mix_);
  const auto before = std::find_if(std::make_reverse_iterator(now + 1), all.rend(), some);
  if (before != all.rend()) return *before;
  const auto after = std::find_if(now, all.end(), some);
  return after != all.end() ? *after : *now;
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
