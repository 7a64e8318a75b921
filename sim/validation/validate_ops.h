#pragma once

#include <atomic>
#include <filesystem>
#include <vector>

#include "sim/validation/accuracy.h"

namespace moesim {

/// Predicts measured kernels (`moesim validate ops`): tables as `moesim fit` reads them, each
/// sample by the profile of its own system and framework, or the donor a run would take. Groups are
/// "FAMILY/SYSTEM/FRAMEWORK/DTYPE" and, over all rows, "provenance/CLASS" and "pooled"; the metric
/// is `latency`, in microseconds. Samples marked suspect are left out of the groups; those of
/// systems that are not shipped are listed as unsupported, and so are, by file, those of none.
/// Every curve that answered stands in `left_out_curves`. Throws InputError for every mistake in a
/// table. Once `stop` is set, what is finished is returned.
[[nodiscard]] Validation validate_ops(const std::vector<std::filesystem::path>& paths,
                                      const std::atomic<bool>* stop = nullptr);

}  // namespace moesim
