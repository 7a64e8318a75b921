#include <cmath>
#include <fmt/format.h>
#include <memory>

#include "scenarios/importer.h"
#include "scenarios/routing_load_table.h"
#include "scenarios/routing_trace.h"
#include "scenarios/tensor_files.h"
#include "scenarios/trace_text.h"
#include "sim/base/files.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Importance matrices of llama.cpp (tools/imatrix, GGUF since July 2025): beside what it is made
/// for it counts how many tokens every expert multiplied, blk.N.ffn_down_exps.weight.counts. The
/// older .dat keeps no such counts. The model's config.json may come first.
class LlamaImatrix final : public Importer {
 public:
  Result convert(const std::vector<std::filesystem::path>& inputs) const override {
    if (inputs.empty() || inputs.size() > 2)
      refuse_file("llama_imatrix", "", "this importer reads one file",
                  "give a config.json (if there is one), then imatrix.gguf");
    const std::filesystem::path config = inputs.size() == 2 ? inputs[0] : "";
    const std::string file = inputs.back().string();
    LoadTable table;
    const std::vector<NamedNumbers> tensors =
        read_gguf(read_file(inputs.back()), file, ".ffn_down_exps.weight.counts");
    for (const NamedNumbers& tensor : tensors) {
      if (tensor.values.size() != tensors.front().values.size())
        refuse_file(file, tensor.name,
                    fmt::format("has {} experts, another layer {}", tensor.values.size(),
                                tensors.front().values.size()),
                    "all layers of a model have as many");
      const std::uint64_t layer = layer_of(tensor.name, file);
      for (std::size_t e = 0; e < tensor.values.size(); ++e)
        table.add(layer, e, whole(tensor.values[e], file, tensor.name));
    }
    Result result;
    result.files.emplace_back("", write_routing_csv(table.loads(config, file)));
    if (config.empty()) result.notes.push_back("no config.json: top_k taken as 1");
    return result;
  }

 private:
  static std::uint64_t layer_of(std::string_view name, const std::string& file) {
    constexpr std::string_view kBlock = "blk.";
    const std::string_view number =
        name.starts_with(kBlock)
            ? name.substr(kBlock.size(), name.find('.', kBlock.size()) - kBlock.size())
            : std::string_view();
    const auto layer = parse_whole(number);
    if (!layer || *layer > 65535)
      refuse_file(file, std::string(name), "names no layer", "as in blk.3.ffn_down_exps.weight");
    return *layer;
  }
  static std::uint64_t whole(double value, const std::string& file, const std::string& name) {
    if (!(value >= 0) || value > 4294967295.0 || value != std::floor(value))
      refuse_file(file, name, fmt::format("has a count of {:g}", value),
                  "whole numbers from 0 to 4294967295");
    return static_cast<std::uint64_t>(value);
  }
};

const Register<Importer> kLlamaImatrix{
    "llama_imatrix", "token counts of experts in llama.cpp's imatrix.gguf to step loads",
    [](Reader&) { return std::make_unique<LlamaImatrix>(); }};

}  // namespace
}  // namespace moesim
