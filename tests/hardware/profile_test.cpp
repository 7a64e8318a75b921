#include "hardware/profile.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hardware/dtypes.h"
#include "hardware/profile_knots.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

namespace moesim {
namespace {

KernelProfile small_profile() {
  KernelProfile profile;
  profile.system = "h100_sxm";
  profile.framework = "vllm";
  profile.version = "0.24";
  profile.sm_version = 90;
  profile.provenance = {
      "2026-08-21", "moesim fit", {"imported"}, {{"a/b", "c0ffee", "MIT"}}, "0", ""};
  KernelCurve curve;
  curve.op = "gemm";
  curve.dtype = "bfloat16";
  curve.form = find_form("gemm");
  for (const Coefficient& c : curve.form->coefficients) curve.coefficients.push_back(c.start);
  curve.table.axes = {{0, 0, 1, 2}, {2, 8, 2, 2}};
  curve.table.values = {0.125F, -0.25F, 0, 0.5F};
  curve.table.near = {9, 0, 3, 9};
  curve.spread_near = 0.05;
  curve.spread_far = 0.1;
  profile.curves.push_back(curve);
  return profile;
}

std::string mistakes_of(const std::string& text) {
  try {
    (void)read_profile(text, "p.json");
  } catch (const InputError& error) {
    std::string all;
    for (const Diagnostic& d : error.diagnostics())
      all += d.key + ": " + d.problem + "; " + d.hint + "\n";
    return all;
  }
  return "";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string replaced_all(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace

TEST_CASE("a profile read back is the same to the byte and predicts the same") {
  const KernelProfile profile = small_profile();
  const std::string text = write_profile(profile);
  const KernelProfile again = read_profile(text, "p.json");
  CHECK(write_profile(again) == text);
  KernelShape shape;
  shape.m = 3;
  shape.n = 4096;
  shape.k = 1000;
  shape.weight_bytes = 2;
  DeviceCeilings device;
  device.memory_bandwidth = 3e12;
  device.peak = 1e15;
  device.sms = 132;
  CHECK(again.curves[0].at(shape, device).time.value() ==
        profile.curves[0].at(shape, device).time.value());
}

TEST_CASE("every shipped profile says the same, whether its knots are read quickly or as JSON") {
  int profiles = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(MOESIM_ROOT "/hardware/profiles")) {
    if (entry.path().extension() != ".json") continue;
    CAPTURE(entry.path().string());
    const std::string text = read_file(entry.path());
    // A list that is not where it is expected is left to the JSON parser.
    const std::string plain = replaced_all(text, "\"log_milli\":[", "\"log_milli\": [");
    REQUIRE(plain != text);
    CHECK(take_knots(text));
    CHECK_FALSE(take_knots(plain));
    CHECK(write_profile(read_profile(text, "p")) == write_profile(read_profile(plain, "p")));
    ++profiles;
  }
  CHECK(profiles > 5);
}

TEST_CASE("knots that are no whole numbers, or do not end, are left to the JSON parser") {
  const std::string head = R"({"log_milli":)";
  const std::optional<Knots> good = take_knots(head + "[-3,40],\"x\":1}");
  REQUIRE(good);
  CHECK(good->rest == head + "0,\"x\":1}");
  CHECK(good->lists == std::vector<std::vector<int>>{{-3, 40}});
  CHECK(take_knots("{}")->lists.empty());
  for (const char* list :
       {"[", "[1", "[1,", "[1,]", "[]", "[1.5]", "[1 ,2]", "[a]", "7", "[99999999999]", ""}) {
    CAPTURE(std::string(list));
    CHECK_FALSE(take_knots(head + list));
  }
}

TEST_CASE(
    "what no datum tells is absent and 0; errors on unequal contexts are kept where there are") {
  KernelProfile profile = small_profile();
  KernelCurve curve;
  curve.op = "attention_generation";
  curve.form = find_form("attention_decode");
  for (const Coefficient& c : curve.form->coefficients)
    curve.coefficients.push_back(c.may_be_none ? 0 : c.start);
  profile.curves = {curve};
  const std::string without = write_profile(profile);
  CHECK(without.find("tail_ns_per_key") == std::string::npos);
  CHECK(without.find("uneven") == std::string::npos);
  CHECK(read_profile(without, "p.json").curves[0].coefficients == curve.coefficients);
  profile.curves[0].coefficients.back() = 13.4;
  profile.curves[0].uneven = {327, 54, 0.04, 0.1, 0.03, 0.07, 0.02, 0.06};
  const std::string text = write_profile(profile);
  const KernelCurve again = read_profile(text, "p.json").curves[0];
  CHECK(again.coefficients.back() == 13.4);
  CHECK(again.uneven.points == 327);
  CHECK(again.uneven.left_p90 == 0.07);
  CHECK(write_profile(read_profile(text, "p.json")) == text);
  CHECK(mistakes_of(replaced(text, "\"uneven\":{\"points\":327", "\"uneven\":{\"pints\":327"))
            .find("ops.0.quality.uneven.pints: unknown key") != std::string::npos);
}

TEST_CASE("mistakes in a profile are told all at once, with their place") {
  std::string text = write_profile(small_profile());
  text = replaced(text, "\"launch_us\":2", "\"launch_us\":-2");
  text = replaced(text, "\"near\":\"9039\"", "\"near\":\"90\"");
  text = replaced(text, "\"version\"", "\"versoin\"");
  const std::string mistakes = mistakes_of(text);
  CHECK(mistakes.find("ops.0.coefficients.launch_us: -2 is outside its range") !=
        std::string::npos);
  CHECK(mistakes.find("ops.0.table: log_milli and near need 4 entries") != std::string::npos);
  CHECK(mistakes.find("versoin: unknown key") != std::string::npos);
}

TEST_CASE("a mistake in a profile is one message at its place") {
  const std::string good = write_profile(small_profile());
  const auto places = [](const std::string& text) {
    std::string all;
    try {
      (void)read_profile(text, "p.json");
    } catch (const InputError& error) {
      for (const Diagnostic& d : error.diagnostics())
        all += std::to_string(d.where.line) + ":" + std::to_string(d.where.column) + " " + d.key +
               "\n";
    }
    return all;
  };
  /// Of the first character of the value that `text` has for `key`, after `begin`.
  const auto place = [](const std::string& text, const std::string& key,
                        const std::string& begin = "") {
    const std::size_t at = text.find("\"" + key + "\":", text.find(begin)) + key.size() + 3;
    const std::size_t line = text.rfind('\n', at) + 1;
    return std::to_string(std::count(text.begin(), text.begin() + static_cast<long>(at), '\n') +
                          1) +
           ":" + std::to_string(at - line + 1);
  };
  struct Case {
    const char *from, *to, *path, *key, *begin;
  };
  const Case cases[] = {
      {"\"bandwidth\":0.85", "\"bandwidth\":\"x\"", "ops.0.coefficients.bandwidth", "bandwidth",
       ""},
      {"\"bandwidth\":0.85", "\"bandwidth\":9", "ops.0.coefficients.bandwidth", "bandwidth", ""},
      {"\"system\":\"h100_sxm\"", "\"system\":8", "system", "system", ""},
      {"\"schema_version\":1", "\"schema_version\":\"1\"", "schema_version", "schema_version", ""},
      {"\"sm_version\":90", "\"sm_version\":-1", "sm_version", "sm_version", ""},
      {"\"step\":1", "\"step\":0", "ops.0.table.axes.0.step", "step", ""},
      {"\"step\":2", "\"step\":true", "ops.0.table.axes.1.step", "step", "\"low\":8"},
      {"\"count\":2", "\"count\":1.5", "ops.0.table.axes.0.count", "count", ""},
      {"\"axis\":\"log2 m\"", "\"axis\":\"m\"", "ops.0.table.axes.0.axis", "axis", ""},
      {"\"near\":0.05", "\"near\":\"\"", "ops.0.spread.near", "near", "\"spread\""},
      {"\"form\":\"gemm\"", "\"form\":1", "ops.0.form", "form", ""},
      {"\"license\":\"MIT\"", "\"license\":1", "provenance.sources.0.license", "license", ""}};
  for (const Case& c : cases) {
    CAPTURE(c.to);
    const std::string text = replaced(good, c.from, c.to);
    CHECK(places(text) == place(text, c.key, c.begin) + " " + c.path + "\n");
  }
  CHECK(places("{\n  \"ops\": ]") == "2:10 \n");
}

TEST_CASE("malformed profiles are refused without a crash") {
  const std::string good = write_profile(small_profile());
  using Edit = std::pair<std::string, std::string>;  // what is put for what
  for (const Edit& edit : {Edit{"\"ops\":[", "\"ops\":{"},
                           {"\"form\":\"gemm\"", "\"form\":\"gem\""},
                           {"\"step\":1", "\"step\":0"},
                           {"\"count\":2", "\"count\":1e9"},
                           {"\"count\":2", "\"count\":1e999"},
                           {"[125,", "[\"x\","},
                           {"\"far\":0.1", "\"far\":0.01"},
                           {"\"axis\":\"log2 m\"", "\"axis\":\"m\""},
                           {"\"schema_version\":1", "\"schema_version\":2"},
                           {"\"sources\":[{", "\"sources\":[],\"x\":[{"}}) {
    CAPTURE(edit.first);
    CHECK(mistakes_of(replaced(good, edit.first, edit.second)) != "");
  }
  CHECK(mistakes_of("[]") != "");
  CHECK(mistakes_of("") != "");
}

TEST_CASE("the curve with most points answers for any kernel") {
  KernelProfile profile = small_profile();
  profile.curves[0].kernel = "a";
  profile.curves[0].quality.points = 10;
  profile.curves.push_back(profile.curves[0]);
  profile.curves[1].kernel = "b";
  profile.curves[1].quality.points = 20;
  CHECK(profile.find("gemm", "", "bfloat16")->kernel == "b");
  CHECK(profile.find("gemm", "a", "bfloat16")->kernel == "a");
  CHECK(profile.find("gemm", "", "fp8") == nullptr);
}

}  // namespace moesim
