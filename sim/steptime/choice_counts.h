#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/steptime/moe_model.h"
#include "sim/steptime/routing_bank.h"

namespace moesim {

/// Counts a step's tokens where experts choose them (`routing.router: expert_choice`; Y. Zhou et
/// al., arXiv:2202.09368): each expert takes the ceil(factor * T * K / E) of T tokens that score
/// best with it, or all there are. Loads are equal by construction, whatever tokens prefer; a token
/// gets none to all of the experts. Padding takes part, as in a batch of fixed shape.
///
/// A routing says which K experts a token prefers and in which order, not its scores. Those are
/// made as choices by weight are (ExpertChooser): a token's affinities are 1/t of arrivals at
/// exponential times, its listed experts being the first K of E arrivals, over the sum of all E;
/// which is the softmax of scores with Gumbel noise. Each of the E - K that are not listed counts
/// in the sum with its mean, E[1/(x + Exp(1))] = e^x E1(x), x being the K-th time. An expert that
/// fewer tokens list than it has room for takes others in a keyed order.
class ChoiceCounts {
 public:
  ChoiceCounts(const CapacityRule& rule, const RoutingShape& shape);

  struct Tokens {
    const RoutingTable& table;
    std::span<const std::uint64_t> rows;
    std::size_t real = 0;                ///< the first so many are of requests
    std::span<const std::size_t> ranks;  ///< rows of each data-parallel rank, padding left out
  };
  /// Adds the tokens to `load`, layer by layer; what became of them is in the fields below.
  void add(const Tokens& tokens, const ReplicaRanks& replicas, StepLoad& load);

  /// Of the tokens of requests in the last `add`.
  struct Outcome {
    double taken = 0;      ///< assignments
    double with_none = 0;  ///< tokens that no expert took
  };
  [[nodiscard]] std::span<const Outcome> layers() const { return outcomes_; }
  /// [n] tokens that n experts took, over all layers.
  [[nodiscard]] std::span<const double> by_experts() const { return by_experts_; }
  /// [layer][expert] assignments.
  [[nodiscard]] std::span<const double> expert_load() const { return expert_load_; }

 private:
  struct Candidate {
    double score = 0;
    std::uint32_t token = 0;
  };
  struct Pick {
    std::uint32_t token = 0;
    int expert = 0;
  };
  void add_layer(const Tokens& part, int layer, std::uint32_t first_key,
                 const ReplicaRanks& replicas, StepLoad& load);
  void list_candidates(const Tokens& part, int layer);
  void score(std::uint64_t key);
  void choose(int expert, std::size_t room, std::size_t tokens, std::uint64_t key);
  void place(std::size_t tokens, int layer, std::uint32_t first_key, const ReplicaRanks& replicas,
             StepLoad& load);

  CapacityRule rule_;
  RoutingShape shape_;
  std::vector<Outcome> outcomes_;
  std::vector<double> by_experts_, expert_load_;
  std::vector<double> scores_;         ///< [choice] of one token
  std::vector<std::size_t> first_;     ///< [expert] of its candidates, and one past the end
  std::vector<std::size_t> fill_;      ///< [expert]
  std::vector<Candidate> candidates_;  ///< expert by expert: tokens that list it
  std::vector<std::uint32_t> lists_;   ///< [token] one past the last expert seen to have it
  std::vector<Pick> picks_;            ///< of one layer
  std::vector<std::uint32_t> got_;     ///< [token] experts that took it
  std::vector<int> placed_;            ///< [token][most]
};

/// Adds what became of the tokens of a step, `times` so many steps alike with `tokens` of requests
/// each.
void add_choice(const ChoiceCounts& choice, double times, double tokens, MoeStats& stats);

}  // namespace moesim
