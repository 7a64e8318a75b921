#include <algorithm>
#include <fmt/format.h>
#include <memory>
#include <optional>

#include "scenarios/importer.h"
#include "scenarios/trace_text.h"
#include "sim/base/files.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// The number after "key=" in a line.
std::optional<double> number_after(std::string_view line, std::string_view key) {
  const std::size_t at = line.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = line.substr(at + key.size());
  const std::size_t end = rest.find_first_not_of("0123456789.");
  return parse_number(rest.substr(0, end));
}

/// What engines log of expert balance, as a series to compare with `moesim routing stats`; it
/// cannot be replayed. The two numbers are not the same thing: SGLang's is a mean over layers of
/// mean / max rank load, vLLM's the sum over layers of the means by the sum of the maxima.
class BalancednessLog final : public Importer {
 public:
  Result convert(const std::vector<std::filesystem::path>& inputs) const override {
    std::string csv = "file,engine,pass,balancedness,mean_tokens,max_tokens\n";
    std::size_t found = 0;
    for (const std::filesystem::path& input : inputs) {
      const std::string content = read_file(input);
      const std::string name = input.filename().string();
      std::uint64_t step = 0;
      Lines lines(content);
      while (lines.next()) {
        const std::string_view line = lines.line();
        if (line.find("[Expert Balancedness]") != std::string_view::npos) {
          const auto pass = number_after(line, "forward_pass_id=");
          const auto value = number_after(line, "current_pass_balancedness=");
          if (!pass || !value) continue;
          csv += fmt::format("{},sglang,{},{},,\n", name, *pass, *value);
          ++found;
        } else if (line.find("EPLB step:") != std::string_view::npos) {
          const auto mean = number_after(line, "avg_tokens="),
                     max = number_after(line, "max_tokens=");
          const auto value = number_after(line, "balancedness=");
          if (!mean || !max || !value) continue;
          csv += fmt::format("{},vllm,{},{},{},{}\n", name, step++, *value, *mean, *max);
          ++found;
        }
      }
    }
    if (found == 0)
      refuse_file(inputs.empty() ? "balancedness_log" : inputs[0].string(), "",
                  "no line about expert balance",
                  "SGLang writes [Expert Balancedness] with --enable-expert-distribution-metrics, "
                  "vLLM \"EPLB step:\" with log_balancedness");
    Result result;
    result.files.emplace_back("", csv);
    result.notes.push_back(fmt::format("{} lines; engines define balancedness differently", found));
    return result;
  }
};

const Register<Importer> kBalancednessLog{
    "balancedness_log", "SGLang's and vLLM's log lines about expert balance to a CSV series",
    [](Reader&) { return std::make_unique<BalancednessLog>(); }};

}  // namespace
}  // namespace moesim
