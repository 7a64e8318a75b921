#include <cmath>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "scenarios/importer.h"
#include "scenarios/routing_load_table.h"
#include "scenarios/routing_trace.h"
#include "scenarios/tensor_files.h"
#include "scenarios/trace_text.h"
#include "sim/base/files.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

using nlohmann::json;

/// Expert statistics of TensorRT-LLM (EXPERT_STATISTIC_ITER_RANGE): meta_info.json with the number
/// of experts and choices, then rank*.safetensors, a tensor ITERATION_LAYER of counts for every
/// iteration and layer. One step for each iteration, ranks added up.
class TrtllmExperts final : public Importer {
 public:
  Result convert(const std::vector<std::filesystem::path>& inputs) const override {
    if (inputs.size() < 2)
      refuse_file("trtllm_experts", "", "this importer reads meta_info.json and counts of ranks",
                  "give meta_info.json, then all rank*.safetensors");
    const RoutingShape shape = read_meta(inputs.front());
    Counts counts;
    for (std::size_t i = 1; i < inputs.size(); ++i) add_rank(inputs[i], shape, counts);
    Result result;
    result.files.emplace_back("", write_routing_csv(steps_of(counts, shape, inputs[1].string())));
    result.notes.push_back(
        fmt::format("counts of {} ranks added up; without attention data parallelism ranks count "
                    "the same tokens each: give one of them then",
                    inputs.size() - 1));
    result.notes.emplace_back(
        "which tokens are of prompts is not recorded: all are taken as decodes");
    return result;
  }

 private:
  /// By iteration and layer.
  using Counts = std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<std::uint64_t>>;

  static RoutingShape read_meta(const std::filesystem::path& path) {
    const json meta = json::parse(read_file(path), nullptr, false);
    const auto number = [&](const char* key, int most) {
      const json value = meta.is_object() ? meta.value(key, json()) : json();
      const bool good = value.is_number_unsigned() && value.get<std::uint64_t>() >= 1 &&
                        value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most);
      if (!good)
        refuse_file(path.string(), key, "is missing or no count",
                    fmt::format("the meta_info.json that TensorRT-LLM wrote: 1 to {}", most));
      return value.get<int>();
    };
    RoutingShape shape;
    shape.experts = number("num_experts", 65536);
    shape.top_k = number("num_experts_per_token", shape.experts);
    return shape;
  }

  static void add_rank(const std::filesystem::path& path, const RoutingShape& shape,
                       Counts& counts) {
    const std::string file = path.string();
    for (const NamedNumbers& tensor : read_safetensors(read_file(path), file)) {
      const std::size_t split = std::min(tensor.name.find('_'), tensor.name.size());
      const std::string_view name = tensor.name;
      const auto step = parse_whole(name.substr(0, split));
      const auto layer = parse_whole(name.substr(std::min(split + 1, name.size())));
      if (!step || !layer || *layer > 65535)
        refuse_file(file, tensor.name, "is no ITERATION_LAYER", "as in 100_3");
      if (tensor.values.size() != static_cast<std::size_t>(shape.experts))
        refuse_file(
            file, tensor.name,
            fmt::format("has {} counts for {} experts", tensor.values.size(), shape.experts),
            "give the meta_info.json of the same run");
      auto& sums = counts[{*step, *layer}];
      sums.resize(tensor.values.size());
      for (std::size_t e = 0; e < sums.size(); ++e) {
        if (!(tensor.values[e] >= 0) || tensor.values[e] > 4294967295.0)
          refuse_file(file, tensor.name, fmt::format("has a count of {:g}", tensor.values[e]),
                      "from 0 to 4294967295");
        sums[e] += static_cast<std::uint64_t>(tensor.values[e]);
      }
    }
  }

  static StepLoads steps_of(const Counts& counts, const RoutingShape& shape,
                            const std::string& file) {
    if (counts.empty()) refuse_file(file, "", "no counts", "give files with at least one tensor");
    std::set<std::uint64_t> steps, layers;
    for (const auto& [place, unused] : counts) {
      steps.insert(place.first);
      layers.insert(place.second);
    }
    StepLoads loads;
    loads.shape = shape;
    loads.shape.layers = static_cast<int>(layers.size());
    for (const std::uint64_t layer : layers) loads.layer_ids.push_back(static_cast<int>(layer));
    for (const std::uint64_t number : steps) {
      std::uint64_t most = 0;
      std::set<std::uint64_t> sums;
      for (const std::uint64_t layer : layers) {
        const auto found = counts.find({number, layer});
        std::uint64_t sum = 0;
        for (int e = 0; e < shape.experts; ++e) {
          const std::uint64_t count =
              found == counts.end() ? 0 : found->second[static_cast<std::size_t>(e)];
          if (count > 4294967295U)
            refuse_file(file, fmt::format("{}_{}", number, layer), "adds up to 2^32 and more",
                        "give fewer ranks");
          loads.counts.push_back(static_cast<std::uint32_t>(count));
          sum += count;
        }
        sums.insert(sum);
        most = std::max(most, sum);
      }
      StepLoads::Step step;
      step.number = number;
      const auto choices = static_cast<std::uint64_t>(shape.top_k);
      if (most / choices > 4294967295U)
        refuse_file(file, std::to_string(number), "adds up to 2^32 tokens and more",
                    "give fewer ranks");
      step.decode_tokens = static_cast<std::uint32_t>(most / choices);
      // Layers that count differently, or parts of tokens: ranks or layers are missing.
      loads.free_sum = loads.free_sum || sums.size() > 1 || most % choices != 0;
      loads.steps.push_back(step);
    }
    return loads;
  }
};

const Register<Importer> kTrtllmExperts{
    "trtllm_experts",
    "TensorRT-LLM expert statistics (meta_info.json, rank*.safetensors) to step loads",
    [](Reader&) { return std::make_unique<TrtllmExperts>(); }};

}  // namespace
}  // namespace moesim
