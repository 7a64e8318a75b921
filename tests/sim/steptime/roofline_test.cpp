#include "sim/steptime/roofline.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "hardware/topology.h"

using namespace moesim;

namespace {

/// Two GPUs of 1 TB/s and 100 TFLOP/s over NVLink of 100 GB/s, with efficiencies that differ.
SystemSpec round_system() {
  SystemSpec system;
  system.gpu.mem_bw = BytesPerSecond(1e12);
  system.gpu.bf16_peak = FlopsPerSecond(1e14);
  system.gpu.sm_version = 90;
  system.efficiency = {.gemm = 0.5,
                       .grouped_gemm = 0.25,
                       .attention_compute = 0.2,
                       .memory = 0.8,
                       .kv_memory = 0.4,
                       .kernel_launch = Seconds(2e-6),
                       .eager_launch = Seconds(0)};
  system.node.gpus = 2;
  system.node.nvlink = true;
  system.node.intra_link = "nvlink4";
  system.node.intra_bw = BytesPerSecond(100e9);
  system.node.intra_latency = Seconds(1e-6);
  system.node.p2p_latency = Seconds(5e-6);
  system.node.pcie_bw = BytesPerSecond(50e9);
  system.node.nics = 1;
  system.node.inter_bw = BytesPerSecond(10e9);
  system.collectives = {Seconds(4e-6), Seconds(10e-6), Seconds(20e-6)};
  return system;
}

struct World {
  SystemSpec system;
  ClusterSpec cluster{{{system, 1, 2}}, {}};
  Topology topology{cluster};
  Collectives collectives{topology, system.gpu.sm_version};

  explicit World(SystemSpec of = round_system()) : system(std::move(of)) {}
  [[nodiscard]] double us(const Op& op, std::vector<int> tp = {0, 1}, int next = 1) const {
    return Roofline(system, collectives, std::move(tp), next).time(op).time.value() * 1e6;
  }
};

Op work(OpKind kind, double flops, double weights, double activations) {
  Op op;
  op.kind = kind;
  op.flops = flops;
  op.weight_bytes = weights;
  op.activation_bytes = activations;
  return op;
}

}  // namespace

TEST_CASE("an operator takes the longer of compute and memory, and a launch") {
  struct Case {
    std::string why;
    Op op;
    double expect_us;
  };
  const Case cases[] = {
      {"nothing to do: the launch", work(OpKind::kGemm, 0, 0, 0), 2},
      {"compute: 1e10 / (0.5 * 1e14)", work(OpKind::kGemm, 1e10, 0, 0), 200 + 2},
      {"memory: weights and activations, 8e7 + 8e7 / (0.8 * 1e12)",
       work(OpKind::kGemm, 1e9, 8e7, 8e7), 200 + 2},
      {"the longer, not the sum", work(OpKind::kGemm, 1e10, 8e7, 0), 200 + 2},
      {"grouped GEMMs reach less of the peak: 1e10 / (0.25 * 1e14)",
       work(OpKind::kGroupedGemm, 1e10, 0, 0), 400 + 2},
      {"attention over the KV cache: 4e7 / (0.4 * 1e12)", work(OpKind::kAttentionDecode, 0, 4e7, 0),
       100 + 2},
      {"prefill attention: 1e10 / (0.2 * 1e14)", work(OpKind::kAttentionPrefill, 1e10, 0, 0),
       500 + 2},
      {"MLA decode has attention's efficiencies", work(OpKind::kMlaDecode, 1e10, 0, 0), 500 + 2},
      {"MLA prefill too", work(OpKind::kMlaPrefill, 1e10, 4e7, 0), 500 + 2},
      {"element-wise work is memory-bound", work(OpKind::kElementwise, 10, 0, 8e6), 10 + 2},
      {"so is sampling", work(OpKind::kSampling, 10, 0, 8e6), 10 + 2},
  };
  const World world;
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(world.us(c.op) == doctest::Approx(c.expect_us).epsilon(1e-9));
  }
}

TEST_CASE("the peak is that of the format the weights are multiplied in") {
  SystemSpec bf16_only = round_system();
  SystemSpec hopper = round_system();
  hopper.gpu.fp8_peak = FlopsPerSecond(2e14);
  hopper.gpu.int8_peak = FlopsPerSecond(4e14);
  SystemSpec blackwell = hopper;
  blackwell.gpu.fp4_peak = FlopsPerSecond(8e14);
  struct Case {
    std::string why;
    NumberFormat format;
    double bf16_only_us, hopper_us, blackwell_us;  // of 1e10 flops, less the launch
  };
  const Case cases[] = {
      {"16 bit", NumberFormat::kBf16, 200, 200, 200},
      {"fp16 has bf16's peak", NumberFormat::kFp16, 200, 200, 200},
      {"fp8, if there is a path for it", NumberFormat::kFp8, 200, 100, 100},
      {"fp8 in blocks", NumberFormat::kFp8Block, 200, 100, 100},
      {"int8", NumberFormat::kInt8, 200, 50, 50},
      {"int4 weights are unpacked to 16 bit", NumberFormat::kAwqInt4, 200, 200, 200},
      {"GPTQ as well", NumberFormat::kGptqInt4, 200, 200, 200},
      {"GGUF as well", NumberFormat::kQ4KM, 200, 200, 200},
      {"MXFP4 natively from Blackwell on, unpacked before", NumberFormat::kMxfp4, 200, 200, 25},
      {"NVFP4 likewise", NumberFormat::kNvfp4, 200, 200, 25},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    Op op = work(OpKind::kGemm, 1e10, 0, 0);
    op.weight_format = c.format;
    CHECK(World(bf16_only).us(op) - 2 == doctest::Approx(c.bf16_only_us).epsilon(1e-9));
    CHECK(World(hopper).us(op) - 2 == doctest::Approx(c.hopper_us).epsilon(1e-9));
    CHECK(World(blackwell).us(op) - 2 == doctest::Approx(c.blackwell_us).epsilon(1e-9));
  }
}

TEST_CASE("messages are priced by the collectives, without a launch of their own") {
  const World world;
  Op reduce;
  reduce.kind = OpKind::kAllReduce;
  reduce.message_bytes = 1e6;
  // Two ranks read each other: 4 us and 1e6 B at 100 GB/s.
  CHECK(world.us(reduce) == doctest::Approx(4 + 10).epsilon(1e-9));
  CHECK(world.us(reduce, {0}) == 0);

  Op send;
  send.kind = OpKind::kSendRecv;
  send.message_bytes = 1e6;
  // 5 us a message, 1 us of link, 10 us of bytes.
  CHECK(world.us(send, {0}, 1) == doctest::Approx(5 + 1 + 10).epsilon(1e-9));
  CHECK(world.us(send, {0}, -1) == 0);  // the last stage sends nothing
}

TEST_CASE("one execution is priced, and all of it is roofline") {
  const World world;
  Op op = work(OpKind::kGemm, 1e10, 0, 0);
  op.repeat = 32;
  CHECK(world.us(op) == doctest::Approx(202).epsilon(1e-9));
  const Roofline roofline(world.system, world.collectives, {0}, -1);
  CHECK(roofline.time(op).provenance == Provenance::kRoofline);
}

TEST_CASE("provenance classes have the names of the glossary, in order of falling trust") {
  std::vector<std::string> names;
  for (int i = 0; i < kProvenanceCount; ++i) {
    names.emplace_back(provenance_name(static_cast<Provenance>(i)));
  }
  CHECK(names == std::vector<std::string>{"measured", "interpolated", "extrapolated", "donor",
                                          "roofline", "datasheet", "assumed"});
}
