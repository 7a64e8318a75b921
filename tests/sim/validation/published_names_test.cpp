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
      {"DeepSeek-V4.1-Flash", ""},
      {"Mixtral", ""},
      {"", ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.published);
    CHECK(shipped_model_of(c.published).value_or("") == c.id);
  }
}

TEST_CASE("published card names mean shipped systems of the same memory") {
  struct Case {
    const char* published;
    const char* system;
  };
  const Case cases[] = {
      {"H100-SXM-80GB", "h100_sxm"},  {"H100-SXM-80GB (assumed)", "h100_sxm"},
      {"H200-SXM-141GB", "h200_sxm"}, {"B200-SXM-180GB", "b200_sxm"},
      {"L40S-48GB", "l40s"},          {"RTX-PRO-6000-96GB", "rtx_pro_6000"},
      {"A100-SXM-80GB", "a100_sxm"},  {"A100-SXM-40GB", ""},  // the same chip with half the memory
      {"H800-SXM-80GB", ""},          {"GB200 (printed as 256 GiB GPU)", ""},
      {"Ascend (not NVIDIA)", ""},    {"", ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.published);
    CHECK(shipped_system_of(c.published).value_or("") == c.system);
  }
}

TEST_CASE("cards without a form factor, as a driver names them, in a folder's name") {
  CHECK(likely_system_of("A100-80GB (form factor not stated)").value_or("") == "a100_sxm");
  CHECK(likely_system_of("A100-40GB").value_or("") == "");
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
  CHECK(version("trtllm", "1.2.0rc3") == "1.2.0");
  CHECK(version("trtllm", "1.2.0") == "1.2.0");
  CHECK(version("trtllm", "1.3.0rc1") == "1.3.0");
  CHECK(version("vllm", "1.2.0rc2") == "1.2.0");
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
