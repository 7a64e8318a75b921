#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "scenarios/expert_chooser.h"
#include "scenarios/expert_routing.h"
#include "scenarios/routers.h"
#include "sim/base/random.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Experts fixed by a hash of the token (hash_experts): no router, nothing learned. Without a
/// vocabulary every token of a request is another word, so every expert is as likely as any other.
/// With one, words come with frequency 1/rank^exponent (G. K. Zipf, "Human Behavior and the
/// Principle of Least Effort", 1949: exponent about 1), all tokens of a word go the same way, and
/// experts of frequent words are hot: what S. Roller et al. (arXiv:2106.04426, 3.1) name as the
/// weakness of random hashes. Groups are not looked at: there are no scores to compare.
class Hash final : public ExpertRouting {
 public:
  struct Words {
    std::int64_t vocabulary = 0;  ///< 0: no word comes twice
    double exponent = 1;
    bool per_layer = true;  ///< else a token has the same experts in all layers
  };
  explicit Hash(const Words& words) : words_(words) {
    if (words.vocabulary == 0) return;
    std::vector<double> frequency;
    for (std::int64_t rank = 1; rank <= words.vocabulary; ++rank)
      frequency.push_back(std::pow(static_cast<double>(rank), -words.exponent));
    frequencies_.emplace(frequency);
  }

  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                   std::uint64_t seed, std::uint64_t /*epoch*/) const override {
    RoutingTable table = empty_table(shape, size);
    std::vector<int> chosen(static_cast<std::size_t>(shape.top_k));
    for (const RoutedSequence& sequence : table.sequences) {
      Rng rng(seed, "hash_words", sequence.source_id);
      for (std::uint64_t row = sequence.first_row; row < sequence.first_row + sequence.rows;
           ++row) {
        const std::uint64_t word =
            frequencies_ ? static_cast<std::uint64_t>(frequencies_->draw(rng)) : rng.next();
        for (int layer = 0; layer < shape.layers; ++layer) {
          hash_experts(seed, words_.per_layer ? layer : 0, word, shape.experts, chosen);
          for (int rank = 0; rank < shape.top_k; ++rank)
            table.set(row, layer, rank, chosen[static_cast<std::size_t>(rank)]);
        }
      }
    }
    return table;
  }
  [[nodiscard]] bool independent_tokens() const override { return true; }

 private:
  Words words_;
  std::optional<AliasTable> frequencies_;
};

const Register<ExpertRouting> kHash{
    "hash", "experts fixed by a hash of the token, the same for every token of a word",
    [](Reader& in) {
      Hash::Words words;
      // From a byte's values to well over the largest vocabulary of a published model (262,144).
      if (in.has("vocabulary")) words.vocabulary = in.integer("vocabulary", {.min = 2, .max = 1e6});
      if (in.has("exponent")) {
        words.exponent = in.number("exponent", {.min = 0, .max = 3});
        if (!in.given("vocabulary"))
          in.fail("exponent", "has no effect without a vocabulary",
                  "write vocabulary: 32000, or leave it out");
      }
      words.per_layer = in.boolean_or("per_layer", true);
      return std::make_unique<Hash>(words);
    }};

}  // namespace
}  // namespace moesim
