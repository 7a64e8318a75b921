#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include "scenarios/distributions.h"
#include "scenarios/load_parts.h"

namespace moesim {
namespace {

using Kind = Distribution::Kind;

const std::vector<std::string> kKinds = {"uniform", "lognormal", "normal", "empirical"};

Distribution fixed(double value) {
  return {Kind::kFixed, value, 0, 0, 0, {}};
}

Distribution read_uniform(Reader& in, Range range) {
  const std::vector<double> ends = in.numbers_or("uniform", {}, range);
  if (ends.empty()) {
    if (in.faulty("uniform")) return fixed(range.min);
  } else if (ends.size() == 2 && ends[0] <= ends[1]) {
    return {Kind::kUniform, ends[0], ends[1], 0, 0, {}};
  }
  in.fail("uniform", "needs the lowest and the highest value, in this order",
          "write uniform: [100, 200]");
  return fixed(range.min);
}

Distribution read_lognormal(Reader& in, Range range) {
  Reader own = in.map("lognormal");
  const Range positive{std::max(range.min, 0.001), range.max};  // a lognormal has no zero
  const double mean = own.number("mean", positive);
  const double p99 = own.number("p99", positive);
  const bool complete = !own.faulty("mean") && !own.faulty("p99");
  if (complete && !lognormal_sigma(mean, p99)) {
    own.fail("p99", fmt::format("no lognormal has mean {:g} and 99th percentile {:g}", mean, p99),
             "p99 lies between the mean and 14.97 times the mean");
    own.reject_unknown_keys();
    return fixed(range.min);
  }
  own.reject_unknown_keys();
  return {Kind::kLognormal, mean, p99, 0, 0, {}};
}

Distribution read_normal(Reader& in, Range range) {
  Reader own = in.map("normal");
  Distribution result{Kind::kNormal,
                      own.number("mean", range),
                      own.number("std", {.min = 0, .max = range.max}),
                      0,
                      0,
                      {}};
  result.min = own.number_or("min", range.min, range);
  result.max = own.number_or("max", range.max, range);
  if (result.min > result.max && !own.faulty("min") && !own.faulty("max")) {
    own.fail("min", fmt::format("{:g} is above max, {:g}", result.min, result.max),
             "write min below max");
  }
  own.reject_unknown_keys();
  return result;
}

Distribution read_empirical(Reader& in, const std::string& key, Range range, LoadContext& context) {
  const std::filesystem::path path = context.file(in, "empirical");
  std::error_code none;
  if (!std::filesystem::is_regular_file(path, none)) return fixed(range.min);  // reported already
  try {
    Distribution result{Kind::kEmpirical, 0, 0, 0, 0, read_samples(path, key)};
    const auto [low, high] = std::ranges::minmax(result.samples);
    if (low >= range.min && high <= range.max) return result;
    in.fail(
        "empirical",
        fmt::format("{} holds values outside {:g} to {:g}", path.string(), range.min, range.max),
        "check the file");
  } catch (const InputError& error) {
    context.report(error, in, "empirical");
  }
  return fixed(range.min);
}

}  // namespace

Distribution read_distribution(Reader& in, const std::string& key, Range range,
                               LoadContext& context) {
  if (!in.is_map(key)) return fixed(in.number_or(key, range.min, range));
  Reader own = in.map(key);
  std::vector<std::string> kinds;
  for (const std::string& kind : kKinds) {
    if (own.has(kind)) kinds.push_back(kind);
  }
  own.reject_unknown_keys();
  if (kinds.empty() && own.faulty("")) return fixed(range.min);  // a name mistyped
  if (kinds.size() != 1) {
    const char* problem =
        kinds.empty() ? "names no distribution" : "names more than one distribution";
    in.fail(key, problem, "write a number, or one of uniform, lognormal, normal, empirical");
    return fixed(range.min);
  }
  if (kinds[0] == "uniform") return read_uniform(own, range);
  if (kinds[0] == "lognormal") return read_lognormal(own, range);
  if (kinds[0] == "normal") return read_normal(own, range);
  return read_empirical(own, key, range, context);
}

}  // namespace moesim
