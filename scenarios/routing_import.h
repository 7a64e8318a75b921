#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "scenarios/routing_table.h"

// Private to the importers of routing: what they share.

namespace moesim {

struct ModelSpec;

/// Which of a model's layers route tokens.
struct MoeLayers {
  std::string model;
  RoutingShape shape;          ///< layers: those with experts
  std::vector<int> layer_ids;  ///< their numbers among all layers
  int all_layers = 0;
  int shared_experts = 0;
};
/// From a Hugging Face config.json, or the id of a shipped model. Throws InputError if it has no
/// experts, or if its layers have different numbers of them.
[[nodiscard]] MoeLayers read_moe_layers(const std::filesystem::path& config);

/// An array of whole numbers, row-major.
struct IntArray {
  std::vector<std::size_t> shape;
  std::vector<std::int64_t> values;
};
/// The array in the bytes of a NumPy .npy file (versions 1 to 3; C order, little-endian whole
/// numbers of 1 to 8 bytes). `what` names it in messages. Throws InputError for anything else.
[[nodiscard]] IntArray read_npy(std::string_view bytes, const std::string& file,
                                const std::string& what);
/// The arrays of a NumPy .npz file (zip, stored or deflated), by name without ".npy", in the order
/// of the file. Throws InputError if it is damaged.
[[nodiscard]] std::vector<std::pair<std::string, IntArray>> read_npz(std::string_view bytes,
                                                                     const std::string& file);

/// Gathers requests into a table of routed tokens.
class RoutedRequests {
 public:
  explicit RoutedRequests(MoeLayers layers) : layers_(std::move(layers)) {}

  /// Adds one request: `prompt` (may be empty) and `decode` are [token, layer, choice], with a
  /// layer for each of the model or for each of its MoE layers. Throws InputError if they do not
  /// fit the model, or an id is no expert of it or comes twice.
  void add(const IntArray& prompt, const IntArray& decode, const std::string& file,
           const std::string& domain);
  [[nodiscard]] std::uint64_t rows() const { return rows_; }
  [[nodiscard]] std::uint64_t unrun() const { return unrun_; }  ///< last tokens left out
  [[nodiscard]] RoutingTable table(const std::string& capture) const;
  [[nodiscard]] const MoeLayers& layers() const { return layers_; }

 private:
  void add_choice(const std::int64_t* ids, std::size_t token, int layer, const std::string& file);
  std::uint32_t add_rows(const IntArray& array, const std::string& file, bool last_is_unrun);

  MoeLayers layers_;
  std::vector<std::uint16_t> ids_;
  std::vector<RoutedSequence> sequences_;
  std::vector<RoutingDomain> domains_;
  std::uint64_t rows_ = 0, unrun_ = 0;
};

}  // namespace moesim
