#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scenarios/routing_table.h"

// Private to the importers of expert loads.

namespace moesim {

/// Tokens by layer and expert, summed over whatever is added: one step of unknown length.
class LoadTable {
 public:
  /// Adds rows of a CSV whose columns of these names hold layer, expert and count; other columns
  /// are ignored and named in `ignored`. Throws InputError, also where a column `model` has several
  /// models: expert 3 of one is not expert 3 of another.
  struct Columns {
    const char *layer, *expert, *count;
  };
  void add_csv(std::string_view text, const std::string& file, const Columns& columns);
  void add(std::uint64_t layer, std::uint64_t expert, std::uint64_t count);
  [[nodiscard]] const std::vector<std::string>& ignored() const { return ignored_; }

  /// The sums, layers in order of their numbers, which become `layer_ids`. A model's config.json
  /// (not empty) says how many experts there are, and top-k; without it the largest expert seen is
  /// the last, and `top_k` is 1. Throws InputError naming `file` if nothing was added, if an expert
  /// is beyond the model's, or a count beyond 32 bits.
  [[nodiscard]] StepLoads loads(const std::filesystem::path& config, const std::string& file) const;

 private:
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> counts_;
  std::vector<std::string> ignored_;
};

/// Whether a file holds a JSON object: a model's config.json in front of data.
[[nodiscard]] bool is_json_object(const std::string& content);

}  // namespace moesim
