#include "sim/steptime/rank_times.h"

#include <algorithm>

#include "sim/base/check.h"

namespace moesim {
namespace {

constexpr CountGrid kLoads{.exact_bits = 4, .octave_bits = 2};
constexpr CountGrid kTokens{.exact_bits = 4, .octave_bits = 2};
/// Tokens of a stream: about as many as a generated table has rows (table_size).
constexpr std::size_t kStreamTokens = 8192;
constexpr std::uint16_t kTokenBegins = 0x8000;
constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;  // 2^64 / golden ratio: SplitMix64's step

std::size_t index(TokenKind kind) {
  return static_cast<std::size_t>(kind);
}

}  // namespace

RankTimes::RankTimes(MoeStageSpec& stage)
    : stage_(stage),
      layers_(static_cast<int>(stage.class_of.size())),
      ranks_(stage.group.ranks()),
      by_tokens_(!stage.group.routed() && !stage.group.needs_copies()),
      pages_((kLoads.slots() + kPage - 1) / kPage) {}

void RankTimes::learn(const std::array<RowDraw, kTokenKinds>& draws, std::uint64_t seed) {
  draws_ = draws;
  seed_ = seed;
  for (Streams& streams : streams_) streams = {};
  for (auto& tables : tables_) tables.clear();
}

void RankTimes::draw_streams(TokenKind kind) {
  const RowDraw& draw = draws_[index(kind)];
  Rng rng(seed_, kind == TokenKind::kDecode ? "decode_stream" : "prompt_stream");
  std::vector<std::uint64_t> rows;
  draw_rows(draw, kStreamTokens, rng, rows);
  fill_stream(*draw.table, rows, streams_[index(kind)]);
}

void RankTimes::fill_stream(const RoutingTable& table, std::span<const std::uint64_t> rows,
                            Streams& streams) const {
  const ReplicaRanks& replicas = stage_.group.replicas();
  const std::vector<int>& first_slot = stage_.group.placement().first_slot;
  const int top_k = table.shape().top_k;
  std::vector<std::vector<std::uint16_t>> of_rank(static_cast<std::size_t>(ranks_));
  std::vector<std::uint64_t> last(static_cast<std::size_t>(ranks_));
  streams.first.assign(1, 0);
  for (int layer = 0; layer < layers_; ++layer) {
    for (auto& stream : of_rank) stream.clear();
    std::ranges::fill(last, ~std::uint64_t{0});
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (int k = 0; k < top_k; ++k) {
        const int expert = table.expert(rows[i], stage_.first + layer, k);
        const int rank = replicas.rank(stage_.first + layer, expert, 0);
        const auto r = static_cast<std::size_t>(rank);
        const int slot = replicas.slots(stage_.first + layer, expert).front() - first_slot[r];
        const bool begins = last[r] != i;
        last[r] = i;
        of_rank[r].push_back(static_cast<std::uint16_t>(slot | (begins ? kTokenBegins : 0)));
      }
    }
    for (std::size_t r = 0; r < of_rank.size(); ++r) {
      // Nobody chose it: whoever does will choose any of its experts.
      for (int s = 0; of_rank[r].empty() && s < first_slot[r + 1] - first_slot[r]; ++s)
        streams.slots.push_back(static_cast<std::uint16_t>(s | kTokenBegins));
      streams.slots.insert(streams.slots.end(), of_rank[r].begin(), of_rank[r].end());
      streams.first.push_back(streams.slots.size());
    }
  }
}

RankTimes::Table& RankTimes::table(TokenKind kind, std::size_t slot) {
  auto& tables = tables_[index(kind)];
  if (tables.size() <= slot) tables.resize(slot + 1);
  Table& table = tables[slot];
  if (table.page.empty())
    table.page.assign(static_cast<std::size_t>(layers_) * static_cast<std::size_t>(ranks_) * pages_,
                      0);
  return table;
}

/// Where a window of `load` assignments begins that is whole tokens, at `from` or soon after it. A
/// few whole tokens differ from as many cut ones: choices of one token are never the same.
std::size_t RankTimes::whole_tokens(std::span<const std::uint16_t> stream, std::size_t from,
                                    std::size_t load) {
  constexpr std::size_t kTries = 64;
  const auto begins = [&](std::size_t i) {
    return (stream[i % stream.size()] & kTokenBegins) != 0;
  };
  for (std::size_t i = from; i < from + std::min(kTries, stream.size()); ++i) {
    if (begins(i) && begins(i + load)) return i % stream.size();
  }
  return from;
}

/// A rank with exactly this load: a window of its stream.
RankTimes::Point RankTimes::measure(const Ask& ask, int load) {
  Streams& streams = streams_[index(ask.kind)];
  if (streams.first.empty()) draw_streams(ask.kind);
  const std::size_t first = streams.first[at(ask.layer, ask.rank)];
  const std::size_t length = streams.first[at(ask.layer, ask.rank) + 1] - first;
  const auto stream = std::span<const std::uint16_t>(streams.slots).subspan(first, length);
  const std::vector<int>& first_slot = stage_.group.placement().first_slot;
  const auto r = static_cast<std::size_t>(ask.rank);
  counts_.assign(static_cast<std::size_t>(first_slot[r + 1] - first_slot[r]), 0);
  std::uint32_t distinct = 0;
  const auto take = [&](std::size_t from, std::size_t count, std::uint32_t times) {
    for (std::size_t i = from; i < from + count; ++i) {
      const std::uint16_t slot = stream[i < length ? i : i - length];
      counts_[slot & (kTokenBegins - 1)] += times;
      distinct += (slot & kTokenBegins) != 0 ? times : 0;
    }
  };
  const auto wanted = static_cast<std::size_t>(load);
  if (wanted >= length) take(0, length, static_cast<std::uint32_t>(wanted / length));
  const std::size_t from = ask.draw * length / kSmallDraws, rest = wanted % length;
  take(wanted < std::min(kSmall, length) ? whole_tokens(stream, from, rest) : from, rest, 1);
  const int c = stage_.class_of[static_cast<std::size_t>(ask.layer)];
  const LayerClass& layers = stage_.classes[static_cast<std::size_t>(c)];
  const int seen = stage_.group.seen(layers, ask.tokens, wanted, std::max(1U, distinct));
  const RankCost one = stage_.group.rank_cost(layers, seen, counts_);
  return {one.gemm_ns, static_cast<float>(one.active), one.provenance};
}

const RankTimes::Point& RankTimes::point(const Ask& ask, Table& table, int load, std::size_t slot) {
  const std::size_t draws = slot < kSmall ? kSmallDraws : kDraws;
  std::uint32_t& page = table.page[at(ask.layer, ask.rank) * pages_ + slot / kPage];
  if (page == 0) {
    table.points.resize(table.points.size() + kPage * draws);
    page = static_cast<std::uint32_t>(table.points.size());
  }
  Point& point = table.points[page - kPage * draws + slot % kPage * draws + ask.draw % draws];
  if (point.ns < 0) point = measure(ask, load);
  return point;
}

void RankTimes::add_at(Ask ask, std::size_t slot, std::span<const std::uint32_t> loads,
                       std::uint64_t key, double weight, std::span<RankCost> out) {
  Table& points = table(ask.kind, slot);
  for (std::size_t r = 0; r < loads.size(); ++r) {
    key += kGolden;
    if (loads[r] == 0) continue;
    ask.rank = static_cast<int>(r);
    ask.draw = mix64(key) % kSmallDraws;
    const auto load = static_cast<int>(loads[r]);
    const CountGrid::Neighbours near = kLoads.at(load);
    const double part = near.part(load);
    const Point low = point(ask, points, near.low, near.slot);
    RankCost& cost = out[r];
    cost.gemm_ns += weight * (1 - part) * low.ns;
    cost.active += weight * (1 - part) * static_cast<double>(low.active);
    cost.provenance = low.provenance;
    if (part == 0) continue;
    const Point& high = point(ask, points, near.high, near.slot + 1);
    cost.gemm_ns += weight * part * high.ns;
    cost.active += weight * part * static_cast<double>(high.active);
  }
}

void RankTimes::add(Ask ask, std::span<const std::uint32_t> loads, std::uint64_t key, double weight,
                    std::span<RankCost> out) {
  if (!by_tokens_) return add_at(ask, 0, loads, key, weight, out);
  const CountGrid::Neighbours near = kTokens.at(ask.tokens);
  const double part = near.part(ask.tokens);
  ask.tokens = near.low;
  add_at(ask, near.slot, loads, key, weight * (1 - part), out);
  ask.tokens = near.high;
  if (part > 0) add_at(ask, near.slot + 1, loads, key, weight * part, out);
}

void RankTimes::price(int layer, std::span<const std::uint32_t> loads, const Mix& mix,
                      std::uint64_t key, std::span<RankCost> out) {
  MOESIM_CHECK(out.size() == loads.size(), "a cost for every rank");
  std::ranges::fill(out, RankCost{});
  key = mix64(key ^ mix64(static_cast<std::uint64_t>(layer)));
  Ask ask{.tokens = mix.tokens, .layer = layer};
  if (mix.prompts < 1) add(ask, loads, key, 1 - mix.prompts, out);
  ask.kind = TokenKind::kPrompt;
  if (mix.prompts > 0) add(ask, loads, key, mix.prompts, out);
}

}  // namespace moesim
