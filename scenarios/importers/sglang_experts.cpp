#include <fmt/format.h>
#include <memory>

#include "scenarios/importer.h"
#include "scenarios/routing_load_table.h"
#include "scenarios/routing_trace.h"
#include "scenarios/trace_text.h"
#include "sim/base/files.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Expert counts as SGLang's recorder wrote them in 2025: a CSV layer_id,expert_id,count from every
/// rank, experts without tokens left out. The model's config.json may come first.
class SglangExperts final : public Importer {
 public:
  Result convert(const std::vector<std::filesystem::path>& inputs) const override {
    LoadTable table;
    std::filesystem::path config;
    std::size_t files = 0;
    for (const std::filesystem::path& input : inputs) {
      const std::string content = read_file(input);
      if (config.empty() && files == 0 && is_json_object(content)) {
        config = input;
        continue;
      }
      table.add_csv(content, input.string(), {"layer_id", "expert_id", "count"});
      ++files;
    }
    const StepLoads loads =
        table.loads(config, inputs.empty() ? "sglang_experts" : inputs.back().string());
    Result result;
    result.files.emplace_back("", write_routing_csv(loads));
    result.notes.push_back(fmt::format(
        "counts of {} files added up; ranks that saw the same tokens count them each", files));
    if (config.empty())
      result.notes.push_back(fmt::format(
          "no config.json: {} experts as far as counts go, top_k taken as 1", loads.shape.experts));
    return result;
  }
};

const Register<Importer> kSglangExperts{
    "sglang_experts", "SGLang recorder CSV (layer_id,expert_id,count, of all ranks) to step loads",
    [](Reader&) { return std::make_unique<SglangExperts>(); }};

}  // namespace
}  // namespace moesim
