#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <string>

#include "calibrate/import/kernel_table.h"
#include "hardware/expert_traffic.h"

using namespace moesim;
namespace fs = std::filesystem;

namespace {

KernelSamples read(const std::string& name, const std::string& text) {
  const fs::path file = fs::temp_directory_path() / "moesim_import_message" / name;
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
  return read_kernel_table(file);
}

std::string mistake_in(const std::string& name, const std::string& text) {
  try {
    (void)read(name, text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("collectives: newest library only; int8 is pooled where bytes are only moved") {
  const KernelSamples found = read("nccl_h100_sxm.csv",
                                   "nccl,op,dtype,gpus,bytes,latency_us\n"
                                   "2.9.1,all_reduce,half,4,1024,11\n"
                                   "2.27.3,all_reduce,half,4,1024,7\n"
                                   "2.27.3,all_reduce,int8,4,1024,8\n"
                                   "2.27.3,all_gather,int8,4,1024,8\n"
                                   "2.27.3,all_gather,half,4,1024,8\n");
  REQUIRE(found.samples.size() == 4);
  const KernelSample& s = found.samples[0];
  CHECK(s.system == "h100_sxm");
  CHECK(s.framework == "");
  CHECK(s.op == "nccl");
  CHECK(s.kernel == "all_reduce");
  CHECK(s.dtype == "");
  CHECK(s.shape.gpus == 4);
  CHECK(s.shape.bytes == 1024);
  CHECK(s.shape.nodes == 1);
  CHECK(s.seconds == doctest::Approx(7e-6));
  CHECK(found.samples[1].dtype == "int8");
  CHECK(found.samples[2].dtype == "");
  CHECK(found.samples[3].dtype == "");
  CHECK(found.samples[2].shape_key == found.samples[3].shape_key);
  CHECK(found.notes.size() == 1);
}

TEST_CASE("custom all-reduce belongs to a framework; graph and eager are kernels") {
  const KernelSamples found = read("custom_allreduce_a100_sxm.csv",
                                   "src,mode,gpus,bytes,latency_us\n"
                                   "vllm,graph,2,256,5\n"
                                   "sglang,eager,2,256,30\n");
  REQUIRE(found.samples.size() == 2);
  CHECK(found.samples[0].framework == "vllm");
  CHECK(found.samples[0].kernel == "graph");
  CHECK(found.samples[1].framework == "sglang");
  CHECK(found.samples[1].kernel == "eager");
}

TEST_CASE("Vidur's networks give what crosses nodes, and send_recv inside one") {
  const KernelSamples found = read("vidur_network.csv",
                                   "network,op,gpus,gpus_per_node,bytes,latency_us\n"
                                   "a100_dgx,all_reduce,8,8,2048,60\n"
                                   "a100_dgx,all_reduce,16,8,2048,65\n"
                                   "h100_dgx,send_recv,2,2,2048,5\n"
                                   "h100_pairwise_nvlink,send_recv,2,2,2048,4\n");
  REQUIRE(found.samples.size() == 2);
  CHECK(found.samples[0].system == "a100_sxm");
  CHECK(found.samples[0].dtype == "nodes");
  CHECK(found.samples[0].shape.nodes == 2);
  CHECK(found.samples[1].system == "h100_sxm");
  CHECK(found.samples[1].kernel == "send_recv");
  CHECK(found.samples[1].dtype == "");
}

TEST_CASE("DeepEP normal: transmit and notify are one time, a token goes to a rank once") {
  const KernelSamples found =
      read("deepep_normal_h100_sxm.csv",
           "ver,nodes,hidden,topk,experts,sms,tokens,dispatch_us,dispatch_notify_us,combine_us,"
           "combine_notify_us\n"
           "0.5.6.post2,1,1024,2,16,20,64,9,9,9,9\n"
           "0.5.12,1,1024,2,16,20,64,30,5,40,7\n"
           "0.5.6.post2,2,1024,2,16,20,64,50,1,60,2\n");
  REQUIRE(found.samples.size() == 4);
  const KernelSample& dispatch = found.samples[0];
  CHECK(dispatch.op == "deepep_normal");
  CHECK(dispatch.kernel == "dispatch");
  CHECK(dispatch.dtype == "fp8");
  CHECK(dispatch.seconds == doctest::Approx(35e-6));
  // 2 of 16 experts, 2 a rank: the same rank twice in 1 of 15 draws.
  const double ranks = (2 - 1.0 / 15) * 7 / 8;
  CHECK(dispatch.shape.bytes == doctest::Approx(64 * 1056 * ranks));
  CHECK(dispatch.shape.nic_bytes == 0);
  CHECK(dispatch.shape.sms == 20);
  CHECK(dispatch.shape.gpus == 8);
  CHECK(found.samples[1].kernel == "combine");
  CHECK(found.samples[1].seconds == doctest::Approx(47e-6));
  CHECK(found.samples[1].shape.bytes == doctest::Approx(64 * 2048 * ranks));
  CHECK(found.samples[2].kernel == "internode_dispatch");
  CHECK(found.samples[2].shape.gpus == 16);
  CHECK(found.samples[2].shape.nic_bytes > 0);
}

TEST_CASE("DeepEP low latency: every pair is a message") {
  const KernelSamples found =
      read("deepep_ll_h200_sxm.csv",
           "ver,nodes,hidden,topk,experts,tokens,dispatch_us,dispatch_GBps,combine_us,"
           "combine_GBps\n"
           "0.5.12,2,1024,4,64,8,20,1,25,1\n");
  REQUIRE(found.samples.size() == 2);
  const KernelShape& s = found.samples[0].shape;
  CHECK(found.samples[0].op == "deepep_ll");
  CHECK(s.bytes == doctest::Approx(8 * 4 * 1056 * 15.0 / 16));
  CHECK(s.nic_bytes == doctest::Approx(8 * 4 * 1056 / 2.0));
  CHECK(s.topk == 4);
  CHECK(s.total_experts == 64);
}

TEST_CASE("a bad cell of a message table is reported at its place") {
  const std::string text = mistake_in("nccl_h100_sxm.csv",
                                      "nccl,op,dtype,gpus,bytes,latency_us\n"
                                      "2.27.3,all_reduce,half,4,1k,7\n");
  CHECK(text.find("nccl_h100_sxm.csv:2:26") != std::string::npos);
  CHECK(text.find("'1k' is not a whole number from 1") != std::string::npos);
}
