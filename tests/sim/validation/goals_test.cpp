#include "sim/validation/goals.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "sim/validation/accuracy_report.h"
#include "sim/validation/accuracy_tables.h"
#include "sim/validation/rank_correlation.h"
#include "sim/validation/serving_rows.h"

using namespace moesim;

namespace {

ComparedValue value(const char* source, bool moe, bool trusted, double error,
                    const char* metric = "tpot_mean") {
  ComparedValue out;
  out.id = source;
  out.metric = metric;
  out.measured = 100;
  out.predicted = 100 * (1 + error);
  out.p10 = 0.95 * out.predicted;
  out.p90 = 1.05 * out.predicted;
  out.source = source;
  out.model = "M";
  out.gpu = "h100_sxm";
  out.moe = moe;
  out.trusted = trusted;
  return out;
}

Validation with_groups(const std::vector<ComparedValue>& rows) {
  Validation out;
  out.rows = rows;
  out.groups = group_errors(rows);
  out.ranks = rank_correlations(rows);
  out.coverage = interval_coverage(rows);
  return out;
}

const GoalCheck& find(const std::vector<GoalCheck>& goals, const std::string& name,
                      const std::string& metric, const std::string& what) {
  const auto found = std::ranges::find_if(goals, [&](const GoalCheck& check) {
    return check.name == name && check.metric == metric && check.what == what;
  });
  REQUIRE_MESSAGE(found != goals.end(), name << " " << metric << " " << what);
  return *found;
}

}  // namespace

TEST_CASE("goals of operating points are of the trusted rows, by source first") {
  // Trusted MoE: source a 2 %, b 8 and 30 %: medians of the sources 2 and 19 %. c is not trusted.
  Validation validation = with_groups({value("a", true, true, 0.02), value("b", true, true, 0.08),
                                       value("b", true, true, -0.30), value("c", true, false, 5),
                                       value("d", false, true, 0.09), value("d", false, false, 3)});
  validation.plain_engines = {10, 8};
  const std::vector<GoalCheck> goals = serving_goals(validation);
  const GoalCheck& median = find(goals, "trust A/moe", "tpot_mean", "median |e|");
  CHECK(median.n == 3);
  CHECK(median.reached == doctest::Approx(0.105));  // between 2 and 19 %
  CHECK(median.high == 0.07);
  CHECK_FALSE(median.met());
  const GoalCheck& p90 = find(goals, "trust A/moe", "tpot_mean", "p90 |e|");
  CHECK(p90.reached == doctest::Approx(0.149));  // between 2 and 27.8 %
  CHECK(p90.high == 0.15);
  CHECK(p90.met());
  // Dense controls are held to what MoE reached.
  const GoalCheck& dense = find(goals, "trust A/dense", "tpot_mean", "median |e|");
  CHECK(dense.n == 1);
  CHECK(dense.reached == doctest::Approx(0.09));
  CHECK(dense.high == doctest::Approx(0.105));
  CHECK(dense.met());
  const GoalCheck& expressible = find(goals, "plain engines", "rows", "expressible");
  CHECK(expressible.reached == doctest::Approx(0.8));
  CHECK_FALSE(expressible.met());
  const GoalCheck& coverage = find(goals, "pooled", "tpot_mean", "inside P10-P90");
  CHECK(coverage.reached == doctest::Approx(1 / 6.0));  // the 2 % only
  CHECK_FALSE(coverage.met());
}

TEST_CASE("each quantity has its goal, and what was not compared has none") {
  struct Case {
    const char* metric;
    double median, p90;
  };
  const Case cases[] = {{"output_tok_s", 0.05, 0.15},
                        {"tpot_p50", 0.07, 0.15},
                        {"e2e_mean", 0.07, 0.16},
                        {"ttft_p50", 0.15, 0.35}};
  for (const Case& c : cases) {
    CAPTURE(std::string(c.metric));
    const std::vector<GoalCheck> goals =
        serving_goals(with_groups({value("a", true, true, 0, c.metric)}));
    CHECK(find(goals, "trust A/moe", c.metric, "median |e|").high == c.median);
    CHECK(find(goals, "trust A/moe", c.metric, "p90 |e|").high == c.p90);
    CHECK(find(goals, "trust A/moe", c.metric, "p90 |e|").met());
  }
  CHECK(serving_goals(with_groups({value("a", true, false, 0, "itl_mean")})).size() == 1);
  CHECK(serving_goals(with_groups({value("a", true, true, 0, "tpot_p99")})).size() == 1);
  CHECK(serving_goals({}).empty());
}

TEST_CASE("the order of layouts is judged within a model on a GPU, not across them") {
  std::vector<ComparedValue> rows;
  const auto add = [&rows](const std::string& model, double measured, double predicted,
                           bool trusted) {
    ComparedValue row = value("s", true, trusted, 0, "output_tok_s");
    row.model = model;
    row.measured = measured;
    row.predicted = predicted;
    rows.push_back(row);
  };
  // Each model is in the wrong order; together they look ordered.
  for (const int scale : {1, 100, 10000}) {
    for (int i = 1; i <= 3; ++i) add("M" + std::to_string(scale), scale * i, scale * (4 - i), true);
  }
  for (int i = 1; i <= 3; ++i) add("untrusted", i, i, false);
  const std::vector<GoalCheck> goals = serving_goals(with_groups(rows));
  const GoalCheck& rank = find(goals, "trust A/moe", "output_tok_s", "median Spearman");
  CHECK(rank.reached == doctest::Approx(-1));
  CHECK(rank.n == 9);
  CHECK(rank.low == 0.95);
  CHECK_FALSE(rank.met());
  CHECK(goal_text(rank) == "at least 0.95");
  CHECK(reached_text(rank) == "-1.000");
}

TEST_CASE("a run's statistics have the goal of three percent, its mean first token four") {
  Validation validation;
  const auto add = [&](const char* metric, double error) {
    validation.groups.push_back({"run", metric, 300, std::abs(error), std::abs(error), error});
  };
  add("ttft_mean", 0.035);
  add("ttft_p50", -0.035);
  add("e2e_p99", 0.03);
  add("e2e_p95", 0.5);    // not among the goals
  add("kv_blocks", 0.5);  // neither
  const std::vector<GoalCheck> goals = run_goals(validation);
  REQUIRE(goals.size() == 3);
  CHECK(find(goals, "run", "ttft_mean", "|e|").met());
  CHECK_FALSE(find(goals, "run", "ttft_p50", "|e|").met());
  CHECK(find(goals, "run", "e2e_p99", "|e|").met());
  CHECK(goal_text(goals[0]) == "at most 4 %");
}

TEST_CASE("a curve meets its operator's goal on shapes left out, or says why not") {
  struct Case {
    std::string why, profile, op;
    double median, p90, in_p90;
    int shapes;
    std::string expected;
  };
  const Case cases[] = {
      {"within both", "h100_sxm/vllm-0.24", "moe", 0.05, 0.20, 0.1, 40, "met"},
      {"the tail is too long", "h100_sxm/vllm-0.24", "moe", 0.04, 0.21, 0.1, 40,
       "missed, on new shapes only"},
      {"vLLM on A100 has room", "a100_sxm/vllm-0.14", "moe", 0.08, 0.29, 0.1, 40, "met"},
      {"SGLang on A100 has not", "a100_sxm/sglang-0.5", "moe", 0.04, 0.29, 0.25, 40,
       "missed, in sample too"},
      {"two shapes", "h100_sxm/vllm-0.24", "stream", 0.2, 0.2, 0.1, 2, "missed, 2 shapes only"},
      {"nothing was left out", "rtx_4090/vllm-0.19", "sampler", 0.01, 0.02, 0.02, 1,
       "in sample: one shape"},
      {"nobody set a goal", "h100_sxm/vllm-0.24", "teleport", 9, 9, 9, 40, ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(verdict({c.profile, c.op, "", "bfloat16", 100, c.shapes, c.median, c.p90, 0.01,
                   c.in_p90}) == c.expected);
  }
}

TEST_CASE("goals and shapes left out stand in every format") {
  Validation validation = with_groups({value("a", true, true, 0.02)});
  validation.goals = serving_goals(validation);
  validation.left_out_curves = {
      {"h100_sxm/vllm-0.24", "gemm", "", "fp8", 5980, 230, 0.0438, 0.1628, 0.03, 0.12}};
  std::ostringstream json, text, page, markdown;
  write_json(validation, json);
  write_text(validation, text);
  write_html(validation, {"T", ""}, page);
  write_markdown(validation, {"T", ""}, markdown);
  const auto document = nlohmann::json::parse(json.str());
  CHECK(document["goals"][0] == nlohmann::json::parse(R"({"name": "trust A/moe",
      "metric": "tpot_mean", "what": "median |e|", "n": 1, "low": null, "high": 0.07,
      "reached": 0.02, "met": true})"));
  CHECK(document["left_out_shapes"][0]["goal_p90"] == 0.13);
  CHECK(document["left_out_shapes"][0]["met"] == false);
  CHECK(text.str().find("  trust A/moe               tpot_mean      median |e|     1    at most 7 "
                        "%     2.0 %  met\n") != std::string::npos);
  CHECK(text.str().find("4 / 13 %  missed, on new shapes only\n") != std::string::npos);
  CHECK(markdown.str().find("| trust A/moe | tpot_mean | median \\|e\\| | 1 | at most 7 % | 2.0 % "
                            "| met |") != std::string::npos);
  CHECK(markdown.str().find("### Shapes left out of the fit") != std::string::npos);
  CHECK(page.str().find("missed, on new shapes only") != std::string::npos);
}

TEST_CASE("goals are of trusted rows on one node without drafts; plain engines of less") {
  struct Case {
    std::string why, trust, interconnect, spec;
    int gpus, ep, attention_dp;
    bool disagg, trusted, plain;
  };
  const Case cases[] = {
      {"a server", "A", "NVLink4 (intra-node)", "none", 8, 1, 1, false, true, true},
      {"nobody says", "A", "", "", 8, 1, 1, false, true, true},
      {"a gap analysis", "B", "NVLink4 (intra-node)", "none", 8, 1, 1, false, false, true},
      {"drafts", "A", "NVLink4 (intra-node)", "mtp", 8, 1, 1, false, false, false},
      {"drafts are not stated", "A", "", "none stated", 8, 1, 1, false, true, true},
      {"two nodes by number", "A", "", "none", 16, 1, 1, false, false, true},
      {"two nodes by name", "A", "NVLink + InfiniBand", "none", 8, 1, 1, false, false, true},
      {"experts apart", "A", "", "none", 8, 8, 1, false, true, false},
      {"attention copied", "A", "", "none", 8, 1, 8, false, true, false},
      {"prompts apart", "A", "", "none", 8, 1, 1, true, true, false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    ServingRow row;
    row.trust = c.trust;
    row.interconnect = c.interconnect;
    row.spec_decode = c.spec;
    row.gpus = c.gpus;
    row.ep = c.ep;
    row.attention_dp = c.attention_dp;
    row.disagg = c.disagg;
    CHECK(is_trusted(row) == c.trusted);
    CHECK(is_plain(row) == c.plain);
  }
}
