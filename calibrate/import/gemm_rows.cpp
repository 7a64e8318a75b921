#include "calibrate/import/kernel_rows.h"

namespace moesim {

void read_gemm_rows(KernelTable& table, KernelSamples& out) {
  for (std::size_t row = 0; row < table.rows(); ++row) {
    KernelSample sample;
    sample.system = table.system();
    sample.framework = table.text(row, {"src", "framework"});
    sample.op = "gemm";
    sample.dtype = table.format(row, {"dtype", "gemm_dtype"});
    sample.shape.m = table.size(row, {"m"});
    sample.shape.n = table.size(row, {"n"});
    sample.shape.k = table.size(row, {"k"});
    sample.shape.weight_bytes = weight_bytes_of(sample.dtype);
    sample.shape.input_bytes = input_bytes_of(sample.dtype);
    sample.shape_key = table.text(row, {"n"}) + "x" + table.text(row, {"k"});
    sample.seconds = table.microseconds(row, {"latency_us"}) * 1e-6;
    out.samples.push_back(std::move(sample));
  }
}

}  // namespace moesim
