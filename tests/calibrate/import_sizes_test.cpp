// What a table's sizes and times may be, and columns that are not there.
#include <doctest/doctest.h>
#include <filesystem>
#include <string>

#include "calibrate/import/kernel_table.h"
#include "hardware/dtypes.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

/// The mistakes of a table, a line each without the file's name.
std::string mistakes_of(const std::string& name, const std::string& text) {
  const fs::path file = fs::temp_directory_path() / "moesim_sizes_test" / name;
  fs::create_directories(file.parent_path());
  write_file(file, text);
  std::string all;
  try {
    static_cast<void>(read_kernel_table(file));
  } catch (const InputError& error) {
    for (const Diagnostic& d : error.diagnostics())
      all += std::to_string(d.where.line) + ":" + std::to_string(d.where.column) + ": " + d.key +
             ": " + d.problem + "; " + d.hint + "\n";
  }
  return all;
}

struct Case {
  const char* why;
  std::string header, row;
  std::string expected;  ///< "" for none
};

TEST_CASE("sizes are whole and of a call that can be, times what a kernel takes") {
  const std::string gemm = "dtype,m,n,k,latency_us", ring = "nccl,op,dtype,gpus,bytes,latency_us";
  const std::string moe = "kernel,dtype,dist,hidden,inter,topk,experts,tp,ep,tokens,latency_us";
  const std::string heads = "attn_dtype,kv_dtype,heads,kv_heads,head_dim,batch,seq_len,latency_us";
  const std::string mla = "kv_dtype,heads,batch,past_len,latency_us";
  const std::string ll = "ver,nodes,hidden,topk,experts,tokens,dispatch_us,combine_us";
  const Case cases[] = {
      {"a good one", gemm, "fp8,1,2,3,9", ""},
      {"no columns of weights", gemm, "fp8,1,0,3,9", "2:7: n: '0' is not a whole number from 1"},
      {"half a row", gemm, "fp8,3.5,2,3,9", "2:5: m: '3.5' is not"},
      {"more than there is", gemm, "fp8,1,2,1e30,9", "2:9: k: '1e30' is not"},
      {"more than an integer", gemm, "fp8,99999999999999999999,2,3,9", "2:5: m: '9999"},
      {"negative", gemm, "fp8,-1,2,3,9", "2:5: m: '-1' is not"},
      {"a time of seconds", gemm, "fp8,1,2,3,0.000009",
       "2:11: latency_us: '0.000009' is not a time"},
      {"an endless time", gemm, "fp8,1,2,3,1e9", "2:11: latency_us: '1e9' is not a time"},
      {"an empty message", ring, "2,all_reduce,half,8,0,9", "2:21: bytes: '0' is not a whole"},
      {"nobody to send to", ring, "2,all_reduce,half,0,8,9", "2:19: gpus: '0' is not a whole"},
      {"a custom all-reduce of nothing", "src,mode,gpus,bytes,latency_us", "vllm,graph,8,0,9",
       "2:14: bytes: '0' is not a whole"},
      {"more experts than any model", moe, "triton,fp8,uniform,8,8,1,1000000000,1,1,1,9",
       "2:26: experts: '1000000000' is not a whole number from 1 to 65536"},
      {"no sequences", heads, "fp8,fp8,8,8,64,0,9,9", "2:16: batch: '0' is not a whole"},
      {"part of a key", mla, "fp8,8,1,0.5,9", "2:9: past_len: '0.5' is not a whole number from 0"},
      {"no cached key", mla, "fp8,8,1,0,9", ""},
      {"no tokens", ll, "1,2,7168,8,256,0,9,9", "2:16: tokens: '0' is not a whole"},
      {"no time to dispatch", ll, "1,2,7168,8,256,1,0,9", "2:18: dispatch_us: '0' is not a time"},
      {"an empty tensor", "op,dtype,m,k,latency_us", "scale_matrix,fp8,0,8,9",
       "2:18: m: '0' is not a whole"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const std::string found = mistakes_of("table_h100_sxm.csv", c.header + "\n" + c.row + "\n");
    CHECK_MESSAGE((c.expected.empty() ? found.empty() : found.find(c.expected) == 0), found);
  }
}

TEST_CASE("a column that is not there is told once, at the header") {
  const std::string rows = "\nfp8,1,2,3\nfp8,1,2,3\n";
  CHECK(mistakes_of("gemm_l4.csv", "dtype,m,n,k,latency\nfp8,1,2,3,9\nfp8,1,2,3,9\n") ==
        "1:1: latency_us: missing column; name it in the header, which has dtype, m, n, k, "
        "latency\n");
  CHECK(mistakes_of("gemm_l4.csv", "dtype,m,n,latency_us" + rows)
            .find("1:1: k: missing column; tables of this kind have m, n, k") == 0);
  CHECK(mistakes_of("gemm_l4.csv", "type,m,n,k" + rows).find("1:1: dtype: missing column") == 0);
  CHECK(mistakes_of("gemm_l4.csv", "a,b,c,d" + rows).find("no kernel measurements of a known") !=
        std::string::npos);
}

TEST_CASE("an unknown number format comes with the known ones, which all have a size") {
  const std::string found = mistakes_of("gemm_l4.csv", "dtype,m,n,k,latency_us\nbf99,1,2,3,9\n");
  CHECK(found.find("2:1: dtype: unknown number format 'bf99'; known: bfloat16, float16") == 0);
  for (const std::string& format : number_formats()) {
    CAPTURE(format);
    CHECK(weight_bytes_of(format) > 0);
  }
}

TEST_CASE("tables say of which version of a framework they are") {
  const fs::path file = fs::temp_directory_path() / "moesim_sizes_test" / "gemm_perf.txt";
  fs::create_directories(file.parent_path());
  const std::string header =
      "framework,version,device,op_name,kernel_source,gemm_dtype,m,n,k,latency\n";
  write_file(file, header +
                       "VLLM,0.24.0,NVIDIA L4,gemm,x,fp8,1,2,3,1\n"
                       "SGLang,0.5.1,NVIDIA L4,gemm,x,fp8,1,2,3,1\n");
  const KernelSamples read = read_kernel_table(file);
  REQUIRE(read.versions.size() == 2);
  CHECK(read.versions.at("vllm").contains("0.24.0"));
  CHECK(read.versions.at("sglang").contains("0.5.1"));
}

}  // namespace
}  // namespace moesim
