#include "hardware/dtypes.h"

namespace moesim {

namespace {

struct Format {
  const char* name;
  double weight_bytes;
};
constexpr Format kFormats[] = {{"bfloat16", 2},
                               {"float16", 2},
                               {"half", 2},
                               {"fp8", 1},
                               {"fp8_block", 1},
                               {"int8_wo", 1},
                               {"sq", 1},
                               {"int4_wo", 0.5 + 2.0 / 128},  // a 16-bit scale per 128 weights
                               {"nvfp4", 0.5 + 1.0 / 16},     // an 8-bit scale per 16
                               {"w4a16_mxfp4", 0.5 + 1.0 / 32},
                               {"w4a8_mxfp4_mxfp8", 0.5 + 1.0 / 32}};

}  // namespace

std::vector<std::string> number_formats() {
  std::vector<std::string> names;
  for (const Format& format : kFormats) names.emplace_back(format.name);
  return names;
}

double weight_bytes_of(const std::string& dtype) {
  for (const Format& format : kFormats) {
    if (dtype == format.name) return format.weight_bytes;
  }
  return 0;
}

double input_bytes_of(const std::string& dtype) {
  if (dtype == "fp8" || dtype == "fp8_block" || dtype == "sq" || dtype == "w4a8_mxfp4_mxfp8")
    return 1;
  return dtype == "nvfp4" ? 0.5625 : 2;
}

DeviceCeilings ceilings_of(const SystemSpec& system, const std::string& formats) {
  // Attention names the format it multiplies and that of its cache: "bfloat16/fp8".
  const std::string dtype = formats.substr(0, formats.find('/'));
  DeviceCeilings ceilings;
  ceilings.memory_bandwidth = system.gpu.mem_bw.value();
  ceilings.sms = system.gpu.sm_count;
  ceilings.l2_bytes = static_cast<double>(system.gpu.l2.value());
  ceilings.link_bandwidth = system.node.intra_bw.value();
  ceilings.nic_bandwidth = system.node.inter_bw.value();
  FlopsPerSecond peak = system.gpu.bf16_peak;
  const FlopsPerSecond none(0);
  if ((dtype == "fp8" || dtype == "fp8_block") && system.gpu.fp8_peak > none)
    peak = system.gpu.fp8_peak;
  if (dtype == "sq" && system.gpu.int8_peak > none) peak = system.gpu.int8_peak;
  if ((dtype == "nvfp4" || dtype == "w4a8_mxfp4_mxfp8") && system.gpu.fp4_peak > none)
    peak = dtype == "nvfp4" ? system.gpu.fp4_peak : system.gpu.fp8_peak;
  ceilings.peak = peak.value();
  return ceilings;
}

}  // namespace moesim
