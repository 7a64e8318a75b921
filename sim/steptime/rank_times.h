#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "sim/steptime/count_grid.h"
#include "sim/steptime/moe_model.h"
#include "sim/steptime/row_draw.h"

namespace moesim {

/// What the experts of a rank take when only the rank's load is known.
///
/// The model: given its load n, a rank's experts have what n neighbours in a stream of its own
/// assignments have, tokens drawn as the run has them. So for every layer and rank of the placement
/// active experts, padding, and rows of hot experts are those of exact draws of this routing,
/// conditional on n. There are several draws of each n, and a step takes one for every layer and
/// rank: with their mean, the slowest of many ranks would be too fast. What is lost is what ranks
/// and layers have in common beyond their loads. Times are tabulated on first use at all n up to 16
/// and four a doubling, linear between; where a kernel sees all tokens of a step (no routed
/// dispatch), at as many token counts, too. Prompt tokens, neighbours of which choose alike, have
/// streams of their own.
class RankTimes {
 public:
  /// `stage` outlives it. Precondition: whole experts, one copy each.
  explicit RankTimes(MoeStageSpec& stage);

  /// Tokens of a step, and the share of prompt tokens among them.
  struct Mix {
    int tokens = 0;
    double prompts = 0;
  };

  /// Draws the streams from a table, and forgets all times. What `draws` points to, by TokenKind,
  /// outlives the next call.
  void learn(const std::array<RowDraw, kTokenKinds>& draws, std::uint64_t seed);

  /// Fills `out`, [rank], for a layer (of the stage) whose ranks have `loads`; `key` chooses
  /// among draws. Allocates on first use of a load only.
  void price(int layer, std::span<const std::uint32_t> loads, const Mix& mix, std::uint64_t key,
             std::span<RankCost> out);

 private:
  /// Assignments in the order of their tokens: local slots, marked where a token begins.
  struct Streams {
    std::vector<std::size_t> first;  ///< [layer][rank], and one past the end
    std::vector<std::uint16_t> slots;
  };
  /// Draws of a load: of small ones, which say least about their experts, several times as many.
  static constexpr std::size_t kDraws = 8, kSmallDraws = 32, kSmall = 16;
  static constexpr std::size_t kPage = 4;  ///< loads; divides kSmall
  struct Point {
    double ns = -1;  ///< not priced yet
    float active = 0;
    Provenance provenance = Provenance::kRoofline;
  };
  /// Costs at one number of tokens: pages of loads, since most are never met.
  struct Table {
    std::vector<std::uint32_t> page;  ///< [layer][rank][slot of the load / kPage] end, 0: none
    std::vector<Point> points;        ///< of a page: [load][draw]
  };

  void draw_streams(TokenKind kind);
  void fill_stream(const RoutingTable& table, std::span<const std::uint64_t> rows,
                   Streams& streams) const;
  Table& table(TokenKind kind, std::size_t slot);
  /// Where a table is asked: a layer's rank in a step of `tokens` tokens of a kind.
  struct Ask {
    TokenKind kind = TokenKind::kDecode;
    int tokens = 0, layer = 0, rank = 0;
    std::size_t draw = 0;
  };
  void add(Ask ask, std::span<const std::uint32_t> loads, std::uint64_t key, double weight,
           std::span<RankCost> out);
  void add_at(Ask ask, std::size_t slot, std::span<const std::uint32_t> loads, std::uint64_t key,
              double weight, std::span<RankCost> out);
  const Point& point(const Ask& ask, Table& table, int load, std::size_t slot);
  Point measure(const Ask& ask, int load);
  static std::size_t whole_tokens(std::span<const std::uint16_t> stream, std::size_t from,
                                  std::size_t load);
  [[nodiscard]] std::size_t at(int layer, int rank) const {
    return static_cast<std::size_t>(layer) * static_cast<std::size_t>(ranks_) +
           static_cast<std::size_t>(rank);
  }

  MoeStageSpec& stage_;
  int layers_, ranks_;
  bool by_tokens_;  ///< kernels see all tokens of the step
  std::size_t pages_;
  std::array<RowDraw, kTokenKinds> draws_{};
  std::uint64_t seed_ = 1;
  std::array<Streams, kTokenKinds> streams_;
  std::array<std::vector<Table>, kTokenKinds> tables_;  ///< [slot of the step's tokens]
  std::vector<std::uint32_t> counts_;                   ///< [slot of a rank]
};

}  // namespace moesim
