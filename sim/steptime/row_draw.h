#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "scenarios/routing_replay.h"
#include "sim/base/random.h"

namespace moesim {

struct MoeSetup;
class RoutingTables;

/// What tokens drawn together have in common.
enum class TokenKind : std::uint8_t {
  kDecode,  ///< each is of another request, anywhere in its output
  kPrompt,  ///< runs of neighbours of one prompt
};
inline constexpr int kTokenKinds = 2;

/// Tokens up to each request's end, summed over the run: every token of it is drawn with the same
/// chance.
struct RequestEnds {
  std::vector<std::uint64_t> prompt, output;
};
/// Without a workload, one request of the usual lengths stands for all.
[[nodiscard]] RequestEnds request_ends(const MoeSetup& setup);

/// How rows are drawn for tokens as a run has them.
struct RowDraw {
  const RoutingTable* table = nullptr;
  const RoutingReplay* replay = nullptr;
  TokenKind kind = TokenKind::kDecode;
  std::span<const std::uint64_t> ends;  ///< RequestEnds::output or ::prompt, up to a request
  std::uint64_t skip = 0;               ///< tokens at the front that are of requests left out
  bool consecutive = false;             ///< only neighbouring rows have the intended load
  bool any_row = false;                 ///< tokens are independent: any row does for any of them
};
/// Of the table and the mix of domains in force. `tables` and `ends` must outlive it.
[[nodiscard]] RowDraw row_draw(const RoutingTables& tables, TokenKind kind,
                               const RequestEnds& ends);

/// Fills `rows` with those of `tokens` tokens. Returns a random number of theirs, the first the
/// generator gave.
std::uint64_t draw_rows(const RowDraw& draw, std::size_t tokens, Rng& rng,
                        std::vector<std::uint64_t>& rows);

}  // namespace moesim
