#include "calibrate/fit/sample_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <fmt/format.h>
#include <string>

#include "calibrate/fit/sample_physics.h"
#include "hardware/kernel_fields.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"
#include "sim/base/random.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

const std::string kRun = R"({"rec":"run","schema_version":1,"tool":"by hand"})"
                         "\n";
const std::string kPoint =
    R"({"rec":"point","op":"gemm","dtype":"fp8","axes":{"m":1,"n":8,"k":8,"weight_bytes":1},"t":{"p50":1e-5},"status":"ok"})"
    "\n";

/// The mistakes of a text, a line each.
std::string mistakes(const std::string& text) {
  try {
    static_cast<void>(read_samples(text, "s.jsonl"));
  } catch (const InputError& error) {
    std::string all;
    for (const Diagnostic& d : error.diagnostics())
      all += fmt::format("{}:{}: {}: {}; {}\n", d.where.line, d.where.column, d.key, d.problem,
                         d.hint);
    return all;
  }
  return "";
}

std::uint64_t bits(double value) {
  return std::bit_cast<std::uint64_t>(value);
}

/// A sample with every size set to some double of many digits, and some to whole numbers.
KernelSample awkward(Rng& rng) {
  KernelSample sample;
  sample.system = "h100_sxm";
  sample.framework = "vllm";
  sample.op = "moe";
  sample.kernel = "tri\"ton\\";
  sample.dtype = "bfloat16/fp8";
  sample.shape_key = "e8/1 µ";
  for (const KernelField& field : kKernelFields) {
    const double scale = std::ldexp(1.0, static_cast<int>(rng.below(80)) - 30);
    sample.shape.*field.member = rng.uniform() * scale;
    if (rng.below(3) == 0) sample.shape.*field.member = static_cast<double>(rng.below(1U << 30U));
  }
  KernelShape& s = sample.shape;  // what is counted is whole, and an expert kernel has sizes
  for (double* const count : {&s.m, &s.n, &s.k, &s.tokens, &s.total_experts, &s.topk, &s.batch,
                              &s.queries, &s.heads, &s.gpus, &s.nodes, &s.rows})
    *count = std::ceil(*count);
  s.tokens += 1;
  s.hidden += 1;
  s.inter += 1;
  sample.seconds = 1e-6 + rng.uniform() * 1e-3;
  sample.suspect = rng.below(2) == 0;
  return sample;
}

TEST_CASE("samples come back with the same bits, and everything the file says of them") {
  SampleFile file;
  file.tool = "test";
  file.importer = "aic_ops";
  file.date = "2026-08-21";
  file.sources = {{"a/b", "0123", "MIT"}, {"c", "4", "Apache-2.0"}};
  file.inputs = {{"moe_h100_sxm.csv", std::string(64, 'a')}};
  file.notes = {"three rows left out"};
  Rng rng(1, "samples");
  for (int i = 0; i < 200; ++i) file.samples.push_back(awkward(rng));
  KernelSample plain;  // all other sizes at their defaults
  plain.op = "stream";
  plain.shape.rows = plain.shape.bytes = 1;
  plain.seconds = 0.1 + 0.2;
  file.samples.push_back(plain);

  const std::string text = write_samples(file);
  CHECK(is_sample_file(text));
  const SampleFile back = read_samples(text, "s.jsonl");
  CHECK(write_samples(back) == text);
  CHECK(back.tool == file.tool);
  CHECK(back.importer == file.importer);
  CHECK(back.date == file.date);
  CHECK(back.sources == file.sources);
  REQUIRE(back.inputs.size() == 1);
  CHECK(back.inputs[0].name == file.inputs[0].name);
  CHECK(back.inputs[0].sha256 == file.inputs[0].sha256);
  CHECK(back.notes == file.notes);
  CHECK(back.warnings.empty());
  CHECK(back.imported == file.samples.size());
  CHECK(back.measured == 0);
  REQUIRE(back.samples.size() == file.samples.size());
  for (std::size_t i = 0; i < file.samples.size(); ++i) {
    const KernelSample &a = file.samples[i], &b = back.samples[i];
    CHECK(a.system == b.system);
    CHECK(a.framework == b.framework);
    CHECK(a.op == b.op);
    CHECK(a.kernel == b.kernel);
    CHECK(a.dtype == b.dtype);
    CHECK(a.shape_key == b.shape_key);
    CHECK(a.suspect == b.suspect);
    CHECK(bits(a.seconds) == bits(b.seconds));
    for (const KernelField& field : kKernelFields) {
      CAPTURE(field.name);
      CHECK(bits(a.shape.*field.member) == bits(b.shape.*field.member));
    }
  }
}

TEST_CASE("points that were not measured are left out, and a cut file is told") {
  const std::string skipped = R"({"rec":"point","op":"gemm","status":"skipped","why":"memory"})";
  const SampleFile file = read_samples(kRun + kPoint + skipped + "\n\n" + kPoint, "s.jsonl");
  CHECK(file.samples.size() == 2);
  CHECK(file.measured == 2);
  REQUIRE(file.warnings.size() == 2);
  CHECK(file.warnings[0].find("1 points were not measured") != std::string::npos);
  CHECK(file.warnings[1].find("no closing line") != std::string::npos);
  CHECK(read_samples(kRun + kPoint + R"({"rec":"end","points":1})", "").warnings.empty());
}

TEST_CASE("every mistake is told with its line, column and key") {
  const auto point = [](const std::string& changed) {
    return kRun + R"({"rec":"point","op":"gemm",)" + changed + "}\n";
  };
  struct Case {
    const char* why;
    std::string text, expected;
  };
  const Case cases[] = {
      {"nothing", "", "1:1: : no samples"},
      {"points before the run", kPoint, "1:2: rec: the first line is not of kind run"},
      {"no JSON", kRun + "{\"rec\":", "2:8: : not a JSON object"},
      {"a list", kRun + "[1]", "2:1: : not a JSON object"},
      {"unknown schema", R"({"rec":"run","schema_version":2,"tool":""})",
       "1:14: schema_version: unknown schema"},
      {"unknown kind", kRun + R"({"rec":"pont"})",
       "2:2: rec: unknown kind 'pont'; did you mean 'point'?"},
      {"misspelt size", point(R"("axes":{"mm":1},"t":{"p50":1e-5},"status":"ok")"),
       "2:36: axes.mm: unknown key"},
      {"an operator nobody fits",
       kRun + R"({"rec":"point","op":"gem","axes":{"m":1},"t":{"p50":1e-5},"status":"ok"})",
       "2:16: op: unknown operator 'gem'; did you mean 'gemm'?"},
      {"a size of 0",
       point(R"("axes":{"m":1,"n":0,"k":8,"weight_bytes":1},"t":{"p50":1e-5},"status":"ok")"),
       "2:42: axes.n: must be above 0"},
      {"no size", point(R"("axes":{"m":1,"n":1,"weight_bytes":1},"t":{"p50":1e-5},"status":"ok")"),
       "2:28: axes.k: must be above 0; a call of gemm has this size"},
      {"half a row", point(R"("axes":{"m":3.5},"t":{"p50":1e-5},"status":"ok")"),
       "2:36: axes.m: 3.5 is not a whole number"},
      {"a size below 0", point(R"("axes":{"m":-1},"t":{"p50":1e-5},"status":"ok")"),
       "2:36: axes.m: -1 is outside 0 to 1e+18"},
      {"no time", point(R"("axes":{},"t":{},"status":"ok")"), "t.p50: missing number"},
      {"microseconds where seconds belong", point(R"("axes":{},"t":{"p50":5e4},"status":"ok")"),
       "2:43: t.p50: 50000 is outside"},
      {"zero time", point(R"("axes":{},"t":{"p50":0},"status":"ok")"), "t.p50: 0 is outside"},
      {"quantiles that fall", point(R"("axes":{},"t":{"p10":2e-5,"p50":1e-5},"status":"ok")"),
       "t.p50: below a lower quantile"},
      {"a key twice", point(R"("op":"moe","axes":{},"t":{"p50":1e-5},"status":"ok")"),
       "2:16: op: stands twice"},
      {"unknown status", point(R"("axes":{},"t":{"p50":1e-5},"status":"good")"),
       "status: unknown status 'good'"},
      {"no double", point(R"("axes":{},"t":{"p50":1e999},"status":"ok")"), "2:1: : a number"},
      {"lines lost", kRun + kPoint + R"({"rec":"end","points":7})",
       "3:14: points: the file has 1 points"},
      {"lines after the end", kRun + R"({"rec":"end","points":0})" + "\n" + kPoint,
       "3:2: rec: a line after the closing one"},
      {"two headers", kRun + kRun, "2:2: rec: a second line of kind run"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const std::string found = mistakes(c.text);
    CHECK_MESSAGE(found.find(c.expected) != std::string::npos, found);
  }
  // All at once, but no more than twenty.
  std::string many = kRun;
  for (int i = 0; i < 30; ++i) many += "{}\n";
  const std::string found = mistakes(many);
  CHECK(std::count(found.begin(), found.end(), '\n') == 20);
}

TEST_CASE("samples faster than the datasheet are counted by kernel") {
  // 2 x 4096^3 flops at 989 TFLOP/s are 138.97 us, 132.4 us with the margin of 5 %.
  KernelSample sample;
  sample.system = "h100_sxm";
  sample.op = "gemm";
  sample.dtype = "bfloat16";
  sample.shape.m = sample.shape.n = sample.shape.k = 4096;
  sample.shape.weight_bytes = 2;
  std::vector<KernelSample> samples;
  for (const double us : {140.0, 133.0, 132.0, 69.0}) {
    sample.seconds = us * 1e-6;
    samples.push_back(sample);
  }
  sample.seconds = 1e-6;
  sample.suspect = true;
  samples.push_back(sample);
  const std::vector<std::string> found = check_sample_physics(samples);
  REQUIRE(found.size() == 1);
  CHECK_MESSAGE(found[0].find("2 of 4 samples") != std::string::npos, found[0]);
  CHECK_MESSAGE(found[0].find("2.01 times (sample 4)") != std::string::npos, found[0]);
  samples.back().system = "gb200";
  samples.back().suspect = false;
  CHECK(check_sample_physics(samples).front() == "system gb200 is not shipped: not judged");
}

TEST_CASE("a fit of imported samples is the fit of their tables, byte for byte") {
  const fs::path profiles = fs::path(MOESIM_SHARED_DIR) / "data" / "vllm_runs" / "profiles";
  if (!fs::exists(profiles)) {
    MESSAGE("skipped: no shared measurements beside the project");
    return;
  }
  const fs::path folder = fs::temp_directory_path() / "moesim_sample_fit";
  fs::remove_all(folder);
  fs::create_directories(folder);
  const std::string shipped =
      read_file(fs::path(MOESIM_ROOT) / "hardware/profiles/rtx_4090/vllm-0.19.json");
  const std::string samples = (folder / "s.jsonl").string(), out = (folder / "p.json").string();
  const std::string import = fmt::format(
      "{0} import vllm_layer_profile {1}/rtx4090-* -o {2} --quiet --date 2026-08-17 --source "
      "casys-kaist/LLMServingSim,5daddb21a545658d5150b535712d0494584b5278,MIT",
      MOESIM_PROGRAM, profiles.string(), samples);
  REQUIRE(std::system(import.c_str()) == 0);
  const std::string fit =
      fmt::format("{} fit {} --system rtx_4090 --kernels vllm-0.19 -o {} --quiet", MOESIM_PROGRAM,
                  samples, out);
  REQUIRE(std::system(fit.c_str()) == 0);
  CHECK(read_file(out) == shipped);
}

}  // namespace
}  // namespace moesim
