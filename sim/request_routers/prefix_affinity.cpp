#include <algorithm>
#include <cstddef>
#include <vector>

#include "sim/base/registry.h"
#include "sim/engine/request_router.h"

namespace moesim {
namespace {

// Command-line defaults of SGLang's gateway (serving-semantics 6.5).
constexpr double kMatchThreshold = 0.3;
constexpr int kAbsoluteImbalance = 64;
constexpr double kRelativeImbalance = 1.5;

/// Cache-aware routing: the instance whose (approximate, never trimmed) prefix tree matches most of
/// the prompt; with little to match, the one with the smallest tree; when loads are far apart, the
/// least loaded. Equal matches go to the instance with fewer requests. Matches are in workload
/// block ids, so requests without identity always take the second rule.
class PrefixAffinity final : public RequestRouter {
 public:
  bool needs_load() const override { return true; }
  void start(std::uint64_t, std::size_t instances, const Workload& workload) override {
    workload_ = &workload;
    seen_.assign(instances, std::vector<bool>(workload.chain_ids));
    tree_tokens_.assign(instances, 0);
  }
  std::size_t pick(std::uint32_t request, std::span<const InstanceLoad> loads) override {
    const std::size_t chosen = choose(request, loads);
    insert(request, chosen);
    return chosen;
  }

 private:
  static int requests(const InstanceLoad& load) { return load.waiting + load.running; }

  std::span<const ChainElement> chain(std::uint32_t request) const {
    if (workload_->chain_begin.empty()) return {};
    const std::size_t begin = workload_->chain_begin[request];
    return std::span(workload_->chain).subspan(begin, workload_->chain_begin[request + 1] - begin);
  }

  std::size_t choose(std::uint32_t request, std::span<const InstanceLoad> loads) const {
    const auto by_requests = [](const InstanceLoad& a, const InstanceLoad& b) {
      return requests(a) < requests(b);
    };
    const auto [least, most] = std::minmax_element(loads.begin(), loads.end(), by_requests);
    if (requests(*most) - requests(*least) > kAbsoluteImbalance &&
        requests(*most) > kRelativeImbalance * requests(*least)) {
      return static_cast<std::size_t>(least - loads.begin());
    }
    std::size_t best = 0;
    std::uint32_t best_match = 0;
    for (std::size_t i = 0; i < loads.size(); ++i) {
      const std::uint32_t match = matched(request, i);
      const bool less_loaded = requests(loads[i]) < requests(loads[best]);
      if (match > best_match || (match == best_match && match > 0 && less_loaded)) {
        best_match = match;
        best = i;
      }
    }
    if (best_match > kMatchThreshold * workload_->prompt_tokens[request]) return best;
    return static_cast<std::size_t>(std::min_element(tree_tokens_.begin(), tree_tokens_.end()) -
                                    tree_tokens_.begin());
  }

  std::uint32_t matched(std::uint32_t request, std::size_t instance) const {
    std::uint32_t match = 0;
    for (const ChainElement& element : chain(request)) {
      if (!seen_[instance][element.id]) break;
      match = element.end;
    }
    return std::min(match, workload_->prompt_tokens[request]);
  }

  void insert(std::uint32_t request, std::size_t instance) {
    std::uint32_t covered = 0;
    for (const ChainElement& element : chain(request)) {
      if (!seen_[instance][element.id]) tree_tokens_[instance] += element.end - covered;
      seen_[instance][element.id] = true;
      covered = element.end;
    }
    tree_tokens_[instance] +=
        workload_->prompt_tokens[request] - std::min(covered, workload_->prompt_tokens[request]);
  }

  const Workload* workload_ = nullptr;
  std::vector<std::vector<bool>> seen_;  ///< [instance][chain id]
  std::vector<std::int64_t> tree_tokens_;
};

const Register<RequestRouter> kPrefixAffinity{
    "prefix_affinity", "longest matching prefix unless loads are far apart (SGLang gateway)",
    [](Reader&) { return std::make_unique<PrefixAffinity>(); }};

}  // namespace
}  // namespace moesim
