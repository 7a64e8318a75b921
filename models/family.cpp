#include "models/family.h"

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {

std::vector<LayerClass> layer_classes(const Shard& shard) {
  std::vector<LayerClass> classes;
  for (int i = shard.first_layer; i < shard.last_layer; ++i) {
    const LayerSpec& layer = shard.model->layers[static_cast<std::size_t>(i)];
    const auto found = std::ranges::find(classes, layer, &LayerClass::spec);
    if (found != classes.end()) {
      ++found->layers;
    } else {
      classes.push_back({layer, 1});
    }
  }
  return classes;
}

namespace {

/// Tile for up to `tokens` tokens.
struct TileStep {
  int tokens;
  int tile;
};

template <std::size_t N>
int tile_for(const TileStep (&steps)[N], int tokens, int largest) {
  for (const TileStep& step : steps) {
    if (tokens <= step.tokens) return step.tile;
  }
  return largest;
}

}  // namespace

int TileRule::m_tile(NumberFormat experts, int tokens) {
  // serving-semantics 3.3: untuned defaults of vLLM's Triton kernels. NVFP4 runs CUTLASS tiles; the
  // bf16 row is the nearest. MXFP4 and Q4_K_M run as 4-bit weight-only kernels.
  static constexpr TileStep kSixteenBit[] = {{32, 16}, {96, 32}, {512, 64}};
  static constexpr TileStep kFp8Block[] = {{64, 16}};
  static constexpr TileStep kWeightOnly[] = {{20, 16}, {40, 32}};
  switch (experts) {
    case NumberFormat::kFp8Block:
      return tile_for(kFp8Block, tokens, 64);
    case NumberFormat::kAwqInt4:
    case NumberFormat::kGptqInt4:
    case NumberFormat::kInt4Group32:
    case NumberFormat::kQ4KM:
    case NumberFormat::kMxfp4:
      return tile_for(kWeightOnly, tokens, 64);
    case NumberFormat::kFp32:
    case NumberFormat::kBf16:
    case NumberFormat::kFp16:
    case NumberFormat::kFp8:
    case NumberFormat::kInt8:
    case NumberFormat::kNvfp4:
      break;
  }
  return tile_for(kSixteenBit, tokens, 128);
}

std::unique_ptr<Family> make_family(const ModelSpec& model) {
  const auto* entry = Registry<Family>::find(model.family);
  MOESIM_CHECK(entry != nullptr, "every family a config can name is registered");
  const Document empty = Document::parse("{}", "");
  Diagnostics none;
  Reader parameters(empty, none);
  return entry->make(parameters);
}

}  // namespace moesim
