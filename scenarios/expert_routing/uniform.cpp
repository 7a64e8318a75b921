#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "scenarios/expert_chooser.h"
#include "scenarios/expert_routing.h"
#include "sim/base/check.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

constexpr int kMaxExperts = 4096;
constexpr int kMaxTopK = 64;

/// Hands out 16-bit pieces of 64-bit words: four draws for one word.
class Pieces {
 public:
  explicit Pieces(Rng& rng) : rng_(rng) {}
  std::uint32_t next() {
    if (left_ == 0) {
      word_ = rng_.next();
      left_ = 4;
    }
    --left_;
    const auto piece = static_cast<std::uint32_t>(word_ & 0xffffU);
    word_ >>= 16;
    return piece;
  }
  /// Uniform in [0, n), n <= 2^16, without bias: D. Lemire, "Fast random integer generation in an
  /// interval", ACM TOMACS 29(1), 2019, on 16 bits. `reject` is 2^16 mod n.
  std::uint32_t below(std::uint32_t n, std::uint32_t reject) {
    std::uint32_t product = next() * n;
    while ((product & 0xffffU) < reject) [[unlikely]] product = next() * n;
    return product >> 16;
  }

 private:
  Rng& rng_;
  std::uint64_t word_ = 0;
  int left_ = 0;
};

/// Every set of k distinct experts is equally likely, for every token anew: a perfectly balanced
/// router without memory. Trained routers are less even (routing-traces.md 3), so this is the best
/// case for expert parallelism and an upper bound on the active experts of small batches.
///
/// R. Floyd's sampling (J. Bentley and R. Floyd, CACM 30(9), 1987): for j = E-k .. E-1 take a
/// uniform t in [0, j], or j itself if t is taken. Exactly k draws a token, no retries, and the
/// choice between t and j compiles to a conditional move. `taken[e]` holds the last token that took
/// e, so nothing is cleared between tokens.
class Uniform final : public ExpertRouting {
 public:
  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                   std::uint64_t seed, std::uint64_t /*epoch*/) const override {
    RoutingTable table = empty_table(shape, size);
    for (const RoutedSequence& sequence : table.sequences) {
      Rng rng(seed, "uniform_table", sequence.source_id);
      if (shape.groups > 0) {
        fill_grouped(table, sequence, rng);
      } else {
        fill(table, sequence, rng);
      }
    }
    return table;
  }
  [[nodiscard]] bool independent_tokens() const override { return true; }
  [[nodiscard]] bool exchangeable() const override { return true; }

  void draw(int /*layer*/, int tokens, int top_k, Rng& rng,
            std::span<std::uint32_t> counts) const override {
    const auto experts = static_cast<std::uint32_t>(counts.size());
    MOESIM_CHECK(top_k >= 1 && top_k <= kMaxTopK, "top_k is between 1 and 64");
    MOESIM_CHECK(experts >= static_cast<std::uint32_t>(top_k) && experts <= kMaxExperts,
                 "there are at least top_k experts, and at most 4096");
    std::array<std::uint32_t, kMaxTopK> reject;
    const std::uint32_t first = experts - static_cast<std::uint32_t>(top_k);
    for (std::uint32_t j = first; j < experts; ++j) reject[j - first] = 0x10000U % (j + 1);
    std::array<std::uint32_t, kMaxExperts> taken;
    for (std::uint32_t e = 0; e < experts; ++e) counts[e] = taken[e] = 0;

    Rng local = rng;  // in registers, whatever the caller's is aliased with
    std::uint32_t* const count = counts.data();
    const auto last = static_cast<std::uint32_t>(tokens);
    std::uint32_t token = 1, j = first;
    while (token <= last) {
      // Pieces as `Pieces` deals them, in a loop over words: a third of the instructions less.
      std::uint64_t word = local.next();
      for (int piece = 0; piece < 4; ++piece, word >>= 16) {
        const std::uint32_t product = static_cast<std::uint32_t>(word & 0xffffU) * (j + 1);
        if ((product & 0xffffU) < reject[j - first]) [[unlikely]]
          continue;
        const std::uint32_t t = product >> 16;
        const std::uint32_t chosen = taken[t] == token ? j : t;
        taken[chosen] = token;
        ++count[chosen];
        if (++j < experts) continue;
        j = first;
        if (++token > last) break;
      }
    }
    rng = local;
  }

 private:
  /// The first top_k places of a shuffle, of whatever order the last one left: every order of every
  /// set is equally likely, unlike Floyd's.
  static void fill(RoutingTable& table, const RoutedSequence& sequence, Rng& rng) {
    const RoutingShape& shape = table.shape();
    Pieces pieces(rng);
    std::vector<int> order(static_cast<std::size_t>(shape.experts));
    std::iota(order.begin(), order.end(), 0);
    for (std::uint64_t row = sequence.first_row; row < sequence.first_row + sequence.rows; ++row) {
      for (int layer = 0; layer < shape.layers; ++layer) {
        for (int rank = 0; rank < shape.top_k; ++rank) {
          const auto left = static_cast<std::uint32_t>(shape.experts - rank);
          const auto at = static_cast<std::size_t>(rank);
          std::swap(order[at], order[at + pieces.below(left, 0x10000U % left)]);
          table.set(row, layer, rank, order[at]);
        }
      }
    }
  }

  /// Inside the groups that a token with equal weights keeps: still every expert as likely as any
  /// other, but experts of one group come together more often.
  static void fill_grouped(RoutingTable& table, const RoutedSequence& sequence, Rng& rng) {
    const RoutingShape& shape = table.shape();
    ExpertChooser chooser(shape, std::vector<double>(static_cast<std::size_t>(shape.experts), 1.0));
    std::vector<int> chosen(static_cast<std::size_t>(shape.top_k));
    for (std::uint64_t row = sequence.first_row; row < sequence.first_row + sequence.rows; ++row) {
      for (int layer = 0; layer < shape.layers; ++layer) {
        chooser.choose(rng, chosen);
        for (int rank = 0; rank < shape.top_k; ++rank)
          table.set(row, layer, rank, chosen[static_cast<std::size_t>(rank)]);
      }
    }
  }
};

const Register<ExpertRouting> kUniform{"uniform",
                                       "every set of top-k distinct experts equally likely",
                                       [](Reader&) { return std::make_unique<Uniform>(); }};

}  // namespace
}  // namespace moesim
