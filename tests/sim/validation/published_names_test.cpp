#include "sim/validation/published_names.h"

#include <doctest/doctest.h>
#include <string>

using namespace moesim;

TEST_CASE("published model names mean shipped checkpoints") {
  struct Case {
    const char* published;
    const char* id;  ///< empty: none of ours
  };
  const Case cases[] = {
      {"Mixtral-8x7B", "mistralai/Mixtral-8x7B-v0.1"},
      {"mistralai/mixtral-8x7b-v0.1", "mistralai/Mixtral-8x7B-v0.1"},
      {"Llama-2-7B", "meta-llama/Llama-2-7b-hf"},
      {"Llama-3.3-70B", "meta-llama/Llama-3.3-70B-Instruct"},
      {"Qwen3-30B-A3B (inferred)", "Qwen/Qwen3-30B-A3B"},
      {"Mistral-Nemo-12B", "mistralai/Mistral-Nemo-Base-2407"},
      {"DeepSeek-V3/R1", "deepseek-ai/DeepSeek-V3"},
      {"DeepSeek-R1-0528", "deepseek-ai/DeepSeek-R1"},
      {"DeepSeek-V3-0324", "deepseek-ai/DeepSeek-V3"},
      {"nvidia/DeepSeek-R1-0528-NVFP4", "deepseek-ai/DeepSeek-R1"},
      {"DeepSeek-V3.2-Exp", "deepseek-ai/DeepSeek-V3.2"},
      {"deepseek-v3.1-nvfp4", "deepseek-ai/DeepSeek-V3"},
      {"Qwen3-Coder-480B", "Qwen/Qwen3-Coder-480B-A35B-Instruct"},
      {"Qwen3-Coder-480B-A35B-Instruct-FP8", "Qwen/Qwen3-Coder-480B-A35B-Instruct"},
      {"Qwen3-235B-A22B-FP8", "Qwen/Qwen3-235B-A22B"},
      {"Qwen/Qwen3-30B-A3B-Thinking-2507", "Qwen/Qwen3-30B-A3B"},
      {"Jamba-1.5-Mini", "ai21labs/AI21-Jamba-1.5-Mini"},
      {"ai21-jamba-1.5-large", "ai21labs/AI21-Jamba-1.5-Large"},
      {"OLMoE-1B-7B", "allenai/OLMoE-1B-7B-0924"},
      {"GLM-4.6-FP8", "zai-org/GLM-4.6"},
      {"MiniMax-M2", "MiniMaxAI/MiniMax-M2.5"},
      {"Kimi-K2-Instruct-0905", "moonshotai/Kimi-K2-Instruct"},
      {"Mixtral-8x7B-Instruct-v0.1-AWQ", "mistralai/Mixtral-8x7B-v0.1"},
      {"Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"},
      // Names that begin alike, of other shapes.
      {"DeepSeek-R1-Distill-Llama-70B", ""},
      {"DeepSeek-R1-0528-Qwen3-8B", ""},
      {"DeepSeek", ""},
      {"GLM-4.6V", ""},
      {"Qwen3-235B", ""},
      {"Qwen3-Next-80B-A3B", "Qwen/Qwen3-Next-80B-A3B-Instruct"},
      {"Llama-4-Scout-17B-32E", ""},
      {"DeepSeek-V4.1-Flash", ""},
      {"Mixtral", ""},
      {"", ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.published);
    CHECK(shipped_model_of(c.published).value_or("") == c.id);
  }
}

TEST_CASE("a checkpoint's name may say its weight format") {
  CHECK(format_in_name("Qwen3-235B-A22B-FP8") == "fp8");
  CHECK(format_in_name("nvidia/DeepSeek-R1-0528-FP4-v2") == "nvfp4");
  CHECK(format_in_name("Mixtral-8x7B-Instruct-v0.1-AWQ (community)") == "awq_int4");
  CHECK(format_in_name("gpt-oss-120b").empty());
  CHECK(format_in_name("").empty());
}

TEST_CASE("published card names mean shipped systems of the same memory") {
  struct Case {
    const char* published;
    const char* system;
  };
  const Case cases[] = {
      {"H100-SXM-80GB", "h100_sxm"},
      {"H100-SXM-80GB (assumed)", "h100_sxm"},
      {"H200-SXM-141GB", "h200_sxm"},
      {"B200-SXM-180GB", "b200_sxm"},
      {"L40S-48GB", "l40s"},
      {"RTX-PRO-6000-96GB", "rtx_pro_6000"},
      {"A100-SXM-80GB", "a100_sxm"},
      {"A100-SXM-40GB", ""},  // the same chip with half the memory
      {"H100-SXM", "h100_sxm"},
      {"b200_sxm", "b200_sxm"},
      {"RTX PRO 6000", "rtx_pro_6000"},
      {"rtx pro 6000 (Blackwell)", "rtx_pro_6000"},
      {"NVIDIA H100 80GB HBM3", "h100_sxm"},
      {"NVIDIA A100-SXM4-80GB", "a100_sxm"},
      {"NVIDIA A100-SXM4-40GB", ""},
      {"NVIDIA B200", "b200_sxm"},
      {"NVIDIA H200", "h200_sxm"},
      {"NVIDIA H200 NVL", ""},
      {"nvidia h100 pcie", "h100_pcie"},
      {"NVIDIA GeForce RTX 4090", "rtx_4090"},
      {"A100 80 GB PCIe", "a100_pcie"},
      {"L40", ""},  // not L4
      {"NVIDIA GH200 480GB", ""},
      {"H800-SXM-80GB", ""},
      {"GB200 (printed as 256 GiB GPU)", ""},
      {"Ascend (not NVIDIA)", ""},
      {"", ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.published);
    CHECK(shipped_system_of(c.published).value_or("") == c.system);
  }
}

TEST_CASE("cards without a form factor, as a driver names them, in a folder's name") {
  CHECK(likely_system_of("A100-80GB (form factor not stated)").value_or("") == "a100_sxm");
  CHECK(likely_system_of("A100-40GB").value_or("") == "");
  CHECK(likely_system_of("B200").value_or("") == "b200_sxm");
  CHECK(likely_system_of("h100 80gb").value_or("") == "h100_sxm");
  CHECK(likely_system_of("H800").value_or("") == "");
  CHECK(likely_system_of("").value_or("") == "");
  CHECK(likely_system_of("GH200-144GB").value_or("") == "");
  CHECK(likely_system_of("H200-NVL-141GB").value_or("") == "");
  CHECK(system_named_in("NVIDIA GeForce RTX 4090").value_or("") == "rtx_4090");
  CHECK(system_named_in("NVIDIA H100 80GB HBM3").value_or("") == "h100_sxm");
  CHECK(system_named_in("NVIDIA A100-SXM4-80GB").value_or("") == "a100_sxm");
  CHECK(system_named_in("NVIDIA GB200").value_or("") == "");
  CHECK(system_named_in("rtxpro6000-llama-3.1-8b-tp1").value_or("") == "rtx_pro_6000");
  CHECK(system_named_in("l40s-x").value_or("") == "l40s");  // not l4
}

TEST_CASE("engines are known by their first word") {
  CHECK(backend_of("vLLM") == "vllm");
  CHECK(backend_of("vLLM (Ray multi-node)") == "vllm");
  CHECK(backend_of("SGLang (disaggregated)") == "sglang");
  CHECK(backend_of("TensorRT-LLM") == "trtllm");
  CHECK(backend_of("trtllm") == "trtllm");
  CHECK(backend_of("Perplexity internal") == "Perplexity internal");
}

TEST_CASE("a release is read, or taken from the date of the row") {
  struct Case {
    const char* published;
    const char* date;
    const char* version;
    bool from_date;
  };
  const Case cases[] = {
      {"0.15.1", "2026-03-04", "0.15.1", false},
      {"~0.10.1", "2025-08-20", "0.10.1", false},
      {"0.9.x (mid-2025)", "2025-07-22", "0.9", false},
      {"0.5.3 era", "2024-07", "0.5.3", false},
      {"", "2025-10-31", "0.11", true},  // 0.11 is of 2025-10-01, 0.12 of 2025-12-02
      {"", "2026-09-20", "0.21", true},
      {"", "2024-07", "0.9", true},  // before all that we know
      {"", "", "", false},
      {"main", "", "", false},
      {"v0.12.0", "2026-01-01", "0.12.0", false},
      {"nightly-5b8c30d6", "2025-12-24", "0.12", true},  // a commit, not release 5
      {"MLPerf v4.1", "2024-08", "0.9", true},           // a round, not a release
      {"2025-05", "2026-03-01", "0.16", true},           // a date
  };
  for (const Case& c : cases) {
    CAPTURE(c.published);
    CAPTURE(c.date);
    const PublishedRelease release = release_of("vllm", c.published, c.date);
    CHECK(release.version == c.version);
    CHECK(release.from_date == c.from_date);
  }
}

TEST_CASE("early candidates of TensorRT-LLM 1.2 are 1.1") {
  const auto version = [](const char* backend, const char* published) {
    return release_of(backend, published, "").version;
  };
  CHECK(version("trtllm", "1.2.0rc0.post1") == "1.1");
  CHECK(version("trtllm", "1.2.0rc2") == "1.1");
  CHECK(version("trtllm", "v1.2.0rc2") == "1.1");
  CHECK(version("trtllm", "1.2.0rc3") == "1.2.0");
  CHECK(version("trtllm", "1.2.0") == "1.2.0");
  CHECK(version("trtllm", "1.3.0rc1") == "1.3.0");
  CHECK(version("vllm", "1.2.0rc2") == "1.2.0");
}

TEST_CASE("a stated release as a number, however it is marked") {
  CHECK(stated_number("v1.0") == Release{1, 0, 0});
  CHECK(stated_number("~0.10.1") == Release{0, 10, 1});
  CHECK(stated_number("1.2.0rc2.post2") == Release{1, 2, 0});  // a candidate keeps its number
  CHECK_FALSE(stated_number("nightly-5b8c30d6"));
  CHECK_FALSE(stated_number("MLPerf v4.1"));
  CHECK_FALSE(stated_number(""));
}

TEST_CASE("a year or a month is dated by its end") {
  const auto version = [](const char* date) { return release_of("trtllm", "", date).version; };
  CHECK(version("2024-08") == "0.9");
  CHECK(version("2025-09") == "1.0");
  CHECK(version("2025") == "1.1");
  CHECK(version("2026-01-14") == "1.1");
  CHECK(version("2026-01-29") == "1.2");
  CHECK(version("2026") == "1.3");
}
