#include <algorithm>
#include <array>
#include <memory>
#include <vector>

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
  RoutingTable table(const RoutingShape& shape, const TableSize& size, std::uint64_t seed,
                     std::uint64_t /*epoch*/) const override {
    const auto per_sequence = static_cast<std::uint32_t>(size.prompt_rows + size.decode_rows);
    const std::uint64_t rows = static_cast<std::uint64_t>(size.sequences) * per_sequence;
    RoutingTable table(shape, rows);
    for (int s = 0; s < size.sequences; ++s) {
      table.sequences.push_back({static_cast<std::uint64_t>(s) * per_sequence, per_sequence, 0,
                                 static_cast<std::uint32_t>(size.prompt_rows), 0, 0,
                                 static_cast<std::uint64_t>(s)});
    }
    Rng rng(seed, "uniform_table");
    std::vector<int> chosen;
    for (std::uint64_t row = 0; row < rows; ++row) {
      for (int layer = 0; layer < shape.layers; ++layer) {
        chosen.clear();
        for (int j = shape.experts - shape.top_k; j < shape.experts; ++j) {
          const auto t = static_cast<int>(rng.next() % static_cast<std::uint64_t>(j + 1));
          chosen.push_back(std::ranges::find(chosen, t) == chosen.end() ? t : j);
        }
        for (int rank = 0; rank < shape.top_k; ++rank)
          table.set(row, layer, rank, chosen[static_cast<std::size_t>(rank)]);
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
    Pieces pieces(local);
    std::uint32_t* const count = counts.data();
    for (std::uint32_t token = 1; token <= static_cast<std::uint32_t>(tokens); ++token) {
      for (std::uint32_t j = first; j < experts; ++j) {
        const std::uint32_t t = pieces.below(j + 1, reject[j - first]);
        const std::uint32_t chosen = taken[t] == token ? j : t;
        taken[chosen] = token;
        ++count[chosen];
      }
    }
    rng = local;
  }
};

const Register<ExpertRouting> kUniform{"uniform",
                                       "every set of top-k distinct experts equally likely",
                                       [](Reader&) { return std::make_unique<Uniform>(); }};

}  // namespace
}  // namespace moesim
