#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "scenarios/routing_table.h"

// Router mechanisms on top of scores and choices (routing-traces.md 4.3): what a model does with
// its router's logits, and what happens to choices that find no room. Plain functions of their
// arguments; classes only keep their buffers, so that nothing is allocated once they have been
// used on as many tokens.

namespace moesim {

/// How a model turns logits into choices and weights.
struct RouterRule {
  enum class Score : std::uint8_t {
    kSoftmax,          ///< over all experts: Mixtral, Qwen3, DeepSeek-V2
    kSoftmaxOfChosen,  ///< top-k of the logits, softmax over those: gpt-oss
    kSigmoid,          ///< of each logit: DeepSeek-V3, Llama-4
  };
  enum class GroupScore : std::uint8_t {
    kBest,      ///< a group is as good as its best expert: DeepSeek-V2
    kSumOfTwo,  ///< as the sum of its two best: DeepSeek-V3 (arXiv:2412.19437, 2.1.2)
  };
  Score score = Score::kSoftmax;
  GroupScore group_score = GroupScore::kSumOfTwo;
  bool renormalize = true;  ///< weights of the chosen sum to `scale`
  double scale = 1;         ///< routed_scaling_factor
};

/// Top-k of the scores of one token at a time, inside the best groups if the shape has groups.
class Router {
 public:
  /// Precondition: top_k experts fit into the groups kept.
  Router(const RoutingShape& shape, const RouterRule& rule);
  /// Fills `chosen` and `weights` (size top_k), best first; of equal scores the lower expert comes
  /// first. `bias` (size E, or empty: none) counts in the choice of groups and experts and not in
  /// the weights, as in DeepSeek-V3's balancing without an auxiliary loss. Precondition: finite
  /// logits, size E.
  void route(std::span<const double> logits, std::span<const double> bias, std::span<int> chosen,
             std::span<double> weights);

 private:
  void score(std::span<const double> logits);
  void keep_groups();

  RoutingShape shape_;
  RouterRule rule_;
  std::vector<double> scores_, biased_;  ///< [expert]
  std::vector<double> group_scores_;
  std::vector<int> groups_, candidates_;
};

/// What happens to a token's choice of an expert that has no room left.
enum class Overflow : std::uint8_t {
  kDrop,        ///< the slot is not computed; the residual carries the token on
  kNextChoice,  ///< it goes to the token's next best expert with room, else it is dropped
  kPad,         ///< kDrop, and every expert computes its full capacity, used or not
};
/// Whose tokens share an expert's capacity.
enum class CapacityScope : std::uint8_t { kBatch, kRank };

/// Tokens an expert may take: ceil(factor * tokens * top_k / experts).
[[nodiscard]] int expert_capacity(double factor, int tokens, int top_k, int experts);

/// Gives the experts' room to the ranked choices of tokens at one layer: first choices of all
/// tokens before any second choice, and earlier tokens first (GShard, arXiv:2006.16668,
/// algorithm 1).
class CapacityLimit {
 public:
  struct Choices {
    std::span<const int> experts;  ///< [token][per_token], best first, distinct within a token
    int per_token = 0;             ///< top_k, or more: what is beyond serves kNextChoice
    int top_k = 0;                 ///< slots of a token
  };
  struct Outcome {
    std::int64_t kept = 0;     ///< slots computed where they were meant to be
    std::int64_t moved = 0;    ///< slots computed by a next choice
    std::int64_t dropped = 0;  ///< kept + moved + dropped = tokens * top_k
    int tokens_with_none = 0;  ///< tokens whose every slot was dropped
    std::int64_t padding = 0;  ///< rows computed for nobody (kPad)
  };
  /// `placed` ([token][top_k]) gets the expert of every slot, -1 if dropped. `capacity` 0 or more.
  Outcome apply(const Choices& choices, int experts, int capacity, Overflow overflow,
                std::span<int> placed);
  /// Tokens of each expert after the last `apply`.
  [[nodiscard]] std::span<const int> load() const { return load_; }

 private:
  /// The first of a token's choices from `next` on that has room, -1 if none; moves `next` past it.
  int next_with_room(std::span<const int> own, int capacity, int& next) const;

  std::vector<int> load_;
  std::vector<int> next_;  ///< [token] first choice that was not looked at yet
};

/// Expert choice (Y. Zhou et al., arXiv:2202.09368): each expert takes the tokens that score best
/// with it, so loads are equal and tokens get none to all of the experts. Looks at all tokens of a
/// batch at once: not causal, so for studies of training and prefill only.
class ExpertChoice {
 public:
  /// `scores` is [token][expert]; each expert takes min(capacity, tokens) of them, of equal scores
  /// the earlier token. Returns the experts each token got.
  std::span<const int> apply(std::span<const double> scores, int experts, int capacity);
  /// Tokens that expert `e` took in the last `apply`, best first.
  [[nodiscard]] std::span<const int> tokens_of(int e) const {
    return std::span<const int>(taken_).subspan(static_cast<std::size_t>(e) * each_, each_);
  }

 private:
  std::vector<int> order_, taken_, got_;
  std::size_t each_ = 0;
};

/// Hash routing (S. Roller et al., arXiv:2106.04426): experts fixed by the token's id in the
/// vocabulary. Fills `chosen` with distinct experts, equally likely over ids. Precondition: no
/// more than `experts` of them.
void hash_experts(std::uint64_t seed, int layer, std::uint64_t token_id, int experts,
                  std::span<int> chosen);

}  // namespace moesim
