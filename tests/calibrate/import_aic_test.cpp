// Tables in AIConfigurator's own columns give the samples that the same numbers give in ours.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <string>

#include "calibrate/import/kernel_table.h"
#include "hardware/kernel_fields.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

KernelSamples read(const std::string& name, const std::string& text) {
  const fs::path file = fs::temp_directory_path() / "moesim_aic_test" / name;
  fs::create_directories(file.parent_path());
  write_file(file, text);
  return read_kernel_table(file, "aic_ops");
}

/// Everything that says what a sample is of.
std::string identity(const KernelSample& s) {
  std::string text = fmt::format("{} {} {} {} {} |{}|", s.system, s.framework, s.op, s.kernel,
                                 s.dtype, s.shape_key);
  for (const KernelField& field : kKernelFields) text += fmt::format(" {}", s.shape.*field.member);
  return text;
}

const std::string kAic = "framework,version,device,op_name,kernel_source,";
const std::string kH100 = ",NVIDIA H100 80GB HBM3,";

TEST_CASE("AIConfigurator's columns mean what ours do, kind by kind") {
  struct Case {
    const char* why;
    std::string aic, name, ours;
  };
  const Case cases[] = {
      {"gemm: ms to us; 16-bit formats are one",
       kAic + "gemm_dtype,m,n,k,latency\nTRTLLM,1.3.0" + kH100 +
           "gemm,torch_flow,float16,16,7168,2048,0.0125\n",
       "gemm_h100_sxm.csv", "src,dtype,n,k,m,latency_us\ntrtllm,bfloat16,7168,2048,16,12.5\n"},
      {"moe: kernel and gate hide in kernel_source",
       kAic +
           "moe_dtype,num_tokens,hidden_size,inter_size,topk,num_experts,moe_tp_size,moe_ep_size,"
           "distribution,latency\nTRTLLM,1.3.0" +
           kH100 +
           "moe,moe_torch_flow_nongated,fp8,64,1024,640,2,8,2,4,power_law_1.2,0.07\nSGLang,0.5" +
           kH100 + "moe,sglang_fused_moe_triton,bfloat16,64,1024,640,2,8,1,1,balanced,0.08\n",
       "moe_h100_sxm.csv",
       "src,kernel,dtype,dist,hidden,inter,gated,topk,experts,tp,ep,tokens,suspect,latency_us\n"
       "trtllm,nongated,fp8,pl1.2,1024,640,0,2,8,2,4,64,0,70\n"
       "sglang,triton,bfloat16,balanced,1024,640,1,2,8,1,1,64,0,80\n"},
      {"experts behind DeepEP: the phase is the op_name",
       kAic +
           "moe_dtype,num_tokens,hidden_size,inter_size,topk,num_experts,moe_tp_size,moe_ep_size,"
           "distribution,latency\nSGLang,0.5" +
           kH100 + "moe_context,deepepmoe,fp8_block,64,7168,2048,8,256,1,8,uniform,0.07\n",
       "moe_deepgemm_h100_sxm.csv",
       "phase,dtype,dist,hidden,inter,topk,experts,ep,tokens,latency_us\n"
       "context,fp8_block,uniform,7168,2048,8,256,8,64,70\n"},
      {"prompts: isl is the length",
       kAic +
           "batch_size,isl,num_heads,num_key_value_heads,head_dim,window_size,beam_width,"
           "attn_dtype,kv_cache_dtype,step,latency\nVLLM,0.24.0" +
           kH100 + "context_attention,fa3,2,512,32,8,128,0,1,bfloat16,fp8,0,0.05\n",
       "attention_context_h100_sxm.csv",
       "src,attn_dtype,kv_dtype,heads,kv_heads,head_dim,window,batch,seq_len,latency_us\n"
       "vllm,bfloat16,fp8,32,8,128,0,2,512,50\n"},
      {"decode: isl + step is the length with the new token",
       kAic +
           "batch_size,isl,num_heads,num_key_value_heads,head_dim,window_size,beam_width,"
           "attn_dtype,kv_cache_dtype,step,latency\nVLLM,0.24.0" +
           kH100 + "generation_attention,fa3,2,1,32,8,128,128,1,bfloat16,bfloat16,511,0.05\n",
       "attention_generation_h100_sxm.csv",
       "src,attn_dtype,kv_dtype,heads,kv_heads,head_dim,window,batch,past_len,latency_us\n"
       "vllm,bfloat16,bfloat16,32,8,128,128,2,511,50\n"},
      {"latent attention, decode",
       kAic + "mla_dtype,kv_cache_dtype,num_heads,batch_size,isl,tp_size,step,latency\nTRTLLM,1" +
           kH100 + "generation_mla,default,bfloat16,fp8,16,4,1,8,1023,0.02\n",
       "mla_generation_h100_sxm.csv",
       "src,kv_dtype,heads,batch,past_len,latency_us\ntrtllm,fp8,16,4,1023,20\n"},
      {"latent attention, prompts",
       kAic + "mla_dtype,kv_cache_dtype,num_heads,batch_size,isl,tp_size,step,latency\nTRTLLM,1" +
           kH100 + "context_mla,default,bfloat16,bfloat16,16,4,1024,8,0,0.02\n",
       "mla_context_h100_sxm.csv",
       "src,kv_dtype,heads,batch,seq_len,latency_us\ntrtllm,bfloat16,16,4,1024,20\n"},
      {"the products around it",
       kAic + "bmm_dtype,num_tokens,num_heads,latency\nTRTLLM,1" + kH100 +
           "mla_gen_post,default,fp8,32,16,0.004\n",
       "mla_bmm_h100_sxm.csv",
       "src,op,dtype,heads,tokens,latency_us\ntrtllm,mla_gen_post,fp8,16,32,4\n"},
      {"nccl: sizes count elements, the version is the library's",
       kAic + "nccl_dtype,num_gpus,message_size,latency\nTRTLLM,2.29.2" + kH100 +
           "all_gather,NCCL,half,8,4096,0.02\nTRTLLM,2.29.2" + kH100 +
           "all_reduce,NCCL,int8,8,4096,0.03\n",
       "nccl_h100_sxm.csv",
       "nccl,op,dtype,gpus,bytes,latency_us\n2.29.2,all_gather,half,8,8192,20\n"
       "2.29.2,all_reduce,int8,8,4096,30\n"},
      {"all-reduces: the mode hides in kernel_source",
       kAic + "allreduce_dtype,num_gpus,message_size,latency,backend\nvLLM,0.24" + kH100 +
           "all_reduce,vLLM_custom_eager,bfloat16,4,4096,0.02,vllm_eager\nTRTLLM,1" + kH100 +
           "all_reduce,TRTLLM,bfloat16,4,128,0.005,\n",
       "custom_allreduce_h100_sxm.csv",
       "src,mode,gpus,bytes,latency_us\nvllm,eager,4,8192,20\ntrtllm,graph,4,256,5\n"},
      {"DeepEP low latency",
       kAic +
           "node_num,hidden_size,num_token,num_topk,num_experts,combine_avg_t_us,"
           "combine_bandwidth_gbps,dispatch_avg_t_us,dispatch_bandwidth_gbps\nsglang,0.5.12" +
           kH100 + "ll,deepep,2,7168,16,8,256,30.5,3.1,20.25,1.9\n",
       "deepep_ll_h100_sxm.csv",
       "ver,nodes,hidden,topk,experts,tokens,dispatch_us,dispatch_GBps,combine_us,combine_GBps\n"
       "0.5.12,2,7168,8,256,16,20.25,1.9,30.5,3.1\n"},
      {"DeepEP normal: transmit and notify",
       kAic +
           "node_num,hidden_size,num_token,num_topk,num_experts,dispatch_sms,dispatch_transmit_us,"
           "dispatch_notify_us,combine_sms,combine_transmit_us,combine_notify_us\nsglang,0.5.12" +
           kH100 + "normal,deepep,1,7168,64,8,256,24,100.5,3.5,20,200,7\n",
       "deepep_normal_h100_sxm.csv",
       "ver,nodes,hidden,topk,experts,sms,tokens,dispatch_us,dispatch_notify_us,combine_us,"
       "combine_notify_us\n0.5.12,1,7168,8,256,24,64,100.5,3.5,200,7\n"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const KernelSamples theirs = read("some_perf.txt", c.aic);
    const KernelSamples ours = read(c.name, c.ours);
    REQUIRE(!ours.samples.empty());
    REQUIRE(theirs.samples.size() == ours.samples.size());
    for (std::size_t i = 0; i < ours.samples.size(); ++i) {
      CHECK(identity(theirs.samples[i]) == identity(ours.samples[i]));
      CHECK(theirs.samples[i].seconds == ours.samples[i].seconds);
    }
  }
}

TEST_CASE("quantisation in AIConfigurator's columns keeps its framework") {
  const KernelSamples found =
      read("computescale_perf.txt", kAic + "m,k,quant_dtype,latency\nVLLM,1" + kH100 +
                                        "scale_matrix,static,16,4096,fp8,0.004\nVLLM,1" + kH100 +
                                        "compute_scale,dynamic,16,4096,fp8,0.001\nVLLM,1" + kH100 +
                                        "compute_scale,dynamic,32,4096,fp8,0.001\n");
  REQUIRE(found.samples.size() == 2);
  CHECK(found.samples[0].kernel == "quantize_static");
  CHECK(found.samples[0].framework == "vllm");
  CHECK(found.samples[1].kernel == "quantize_dynamic");
  CHECK(found.samples[1].seconds == doctest::Approx(5e-6));
  REQUIRE(found.notes.size() == 1);
  CHECK(found.notes[0].text.find("1 rows of compute_scale left out") != std::string::npos);
}

TEST_CASE("mistakes in AIConfigurator's tables point into them") {
  const auto mistakes = [](const std::string& text) {
    try {
      static_cast<void>(read("x_perf.txt", text));
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  struct Case {
    const char* why;
    std::string text, expected;
  };
  const std::string gemm = kAic + "gemm_dtype,m,n,k,latency\n";
  const Case cases[] = {
      {"a framework of nobody", gemm + "X,1,NVIDIA H200,gemm,t,fp8,1,2,3,0.1\n",
       ":2:1: framework: unknown framework 'X'"},
      {"a device we have no system of", gemm + "VLLM,1,NVIDIA K80,gemm,t,fp8,1,2,3,0.1\n",
       ":2:8: device: unknown device 'NVIDIA K80'"},
      {"two devices",
       gemm + "VLLM,1,NVIDIA H200,gemm,t,fp8,1,2,3,0.1\nVLLM,1,NVIDIA L4,gemm,t,fp8,1,2,3,0.1\n",
       ":3:8: system: a table is of one system"},
      {"no number", gemm + "VLLM,1,NVIDIA H200,gemm,t,fp8,1,2,3,fast\n",
       ":2:37: latency: 'fast' is not a number"},
      {"no time at all", gemm + "VLLM,1,NVIDIA H200,gemm,t,fp8,1,2,3,0\n",
       ":2:37: latency_us: '0' is not a time"},
      {"no weights at all", gemm + "VLLM,1,NVIDIA H200,gemm,t,fp8,1,0,3,0.1\n",
       ":2:33: n: '0' is not a whole number from 1"},
      {"an unknown format", gemm + "VLLM,1,NVIDIA H200,gemm,t,fp9,1,2,3,0.1\n",
       ":2:27: dtype: unknown number format 'fp9'; did you mean 'fp8'?"},
      {"half an element",
       kAic + "nccl_dtype,num_gpus,message_size,latency\nTRTLLM,2,NVIDIA H200,all_gather,n,half,8,"
              "3.5,0.02\n",
       ":2:42: message_size: '3.5' is not a whole number"},
      {"a column lost", kAic + "gemm_dtype,m,n,latency\n", ":1:1: k: column is missing"},
      {"a module", kAic + "gemm_type,mla_dtype,latency\n", "no operator that is fitted"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const std::string found = mistakes(c.text);
    CHECK_MESSAGE(found.find(c.expected) != std::string::npos, found);
  }
}

TEST_CASE("AIConfigurator's own files agree with the tables made of them") {
  const fs::path data = fs::path(MOESIM_SHARED_DIR) / "data";
  if (!fs::exists(data / "calib_samples")) {
    MESSAGE("skipped: no shared measurements beside the project");
    return;
  }
  struct Case {
    const char *original, *table;
  };
  const Case cases[] = {
      {"aic_h100_sxm_moe_4096x14336_e8k2.csv", "moe_h100_sxm.csv"},
      {"aic_h100_sxm_generation_attention_sample.csv", "attention_generation_h100_sxm.csv"},
      {"aic_a100_sxm_nccl_2.27.3.csv", "nccl_a100_sxm.csv"},
      {"aic_h200_sxm_deepep_ll.csv", "deepep_ll_h200_sxm.csv"},
      {"aic_h200_sxm_deepep_normal_7168.csv", "deepep_normal_h200_sxm.csv"}};
  for (const Case& c : cases) {
    CAPTURE(c.original);
    // Loads of two distributions may be alike, so a shape may have several times.
    std::multimap<std::string, double> known;
    for (const KernelSample& s : read_kernel_table(data / "ops" / c.table).samples)
      known.emplace(identity(s), s.seconds);
    const KernelSamples theirs = read_kernel_table(data / "calib_samples" / c.original);
    std::size_t met = 0;
    for (const KernelSample& s : theirs.samples) {
      const auto [first, last] = known.equal_range(identity(s));
      if (first == last) continue;  // withheld, or of another release
      ++met;
      CHECK(std::any_of(first, last, [&](const auto& row) {  // five digits there
        return std::abs(s.seconds / row.second - 1) < 1e-4;
      }));
    }
    CHECK(met * 10 >= theirs.samples.size() * 8);
  }
}

}  // namespace
}  // namespace moesim
