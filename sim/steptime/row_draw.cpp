#include "sim/steptime/row_draw.h"

#include <algorithm>

#include "scenarios/workload.h"
#include "sim/steptime/moe_model.h"
#include "sim/steptime/routing_tables.h"

namespace moesim {
namespace {

/// A token of the run: its request, its place there, and how many follow it there.
struct Place {
  std::uint64_t request = 0;
  std::uint32_t at = 0, left = 0;
};
Place draw_place(const RowDraw& draw, Rng& rng, bool whole) {
  const std::uint64_t token = draw.skip + rng.next() % (draw.ends.back() - draw.skip);
  const auto end = std::ranges::upper_bound(draw.ends, token);
  const std::uint64_t begin = end == draw.ends.begin() ? 0 : *(end - 1);
  Place place;
  place.request = static_cast<std::uint64_t>(end - draw.ends.begin());
  place.at = whole ? 0 : static_cast<std::uint32_t>(token - begin);
  place.left = static_cast<std::uint32_t>(*end - begin) - place.at;
  return place;
}

}  // namespace

RequestEnds request_ends(const MoeSetup& setup) {
  const Workload* const workload = setup.workload;
  if (workload == nullptr || workload->size() == 0)
    return {{static_cast<std::uint64_t>(setup.mean_prompt)},
            {static_cast<std::uint64_t>(setup.mean_output)}};
  RequestEnds ends;
  std::uint64_t prompts = 0, outputs = 0;
  for (std::size_t r = 0; r < workload->size(); ++r) {
    ends.prompt.push_back(prompts += workload->prompt_tokens[r]);
    ends.output.push_back(outputs += workload->output_tokens[r]);
  }
  return ends;
}

RowDraw row_draw(const RoutingTables& tables, TokenKind kind, const RequestEnds& ends) {
  const std::vector<std::uint64_t>& all = kind == TokenKind::kDecode ? ends.output : ends.prompt;
  const RequestDomains::Stretch requests = tables.requests();
  const bool some = requests.first < requests.last;  // else one request stands for all
  return {.table = &tables.table(),
          .replay = &tables.replay(),
          .kind = kind,
          .ends = std::span(all).first(some ? requests.last : all.size()),
          .skip = some && requests.first > 0 ? all[requests.first - 1] : 0,
          .consecutive = tables.routing().consecutive_rows(),
          .any_row = tables.routing().independent_tokens()};
}

std::uint64_t draw_rows(const RowDraw& draw, std::size_t tokens, Rng& rng,
                        std::vector<std::uint64_t>& rows) {
  rows.clear();
  const bool run = draw.kind == TokenKind::kPrompt;
  const std::uint64_t origin = rng.next();
  RoutingReplay::Walk walk{};
  std::uint32_t at = 0, left = 0;
  for (std::size_t token = 0; token < tokens; ++token) {
    std::uint64_t row = 0;
    if (draw.consecutive) {
      row = (origin + token) % draw.table->rows();
    } else if (draw.any_row) {
      row = rng.next() % draw.table->rows();
    } else {
      if (left == 0) {
        // Tokens begin in the middle of a prompt; later prompts are whole.
        const Place place = draw_place(draw, rng, run && token > 0);
        walk = draw.replay->walk(place.request);
        at = place.at;
        left = run ? place.left : 1;
      }
      row = run ? draw.replay->prompt_row(walk, at) : draw.replay->decode_row(walk, at);
      ++at;
      --left;
    }
    rows.push_back(row);
  }
  return origin;
}

}  // namespace moesim
