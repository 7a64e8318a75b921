#pragma once

#include <memory>

#include "hardware/dispatch.h"

namespace moesim {

/// DeepEP's high-throughput kernels: a token crosses the network once per node that has one of its
/// experts, to the GPU of its own local index, which forwards it over NVLink once per rank; results
/// are summed per rank, then per node, on the same way back. `sms` are given to communication;
/// `stands_in`: for another library.
[[nodiscard]] std::unique_ptr<DispatchBackend> make_relay_dispatch(const DispatchSetup& setup,
                                                                   int sms, bool stands_in = false);

/// SMs of vLLM's default (serving-semantics 3.4).
inline constexpr int kHighThroughputSms = 20;

}  // namespace moesim
