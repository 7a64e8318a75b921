#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/op.h"
#include "sim/steptime/kernel_model.h"

namespace moesim {

/// Operators that were priced, by where their times come from. Step times are remembered, so this
/// is the time of the shapes that occurred, each about once: it says of what operators a class of
/// provenance consists, not how long a run spent in them.
class KernelLog {
 public:
  struct Entry {
    Term term;
    std::string op;  ///< as in KernelOrigin, but "moe" and "all_reduce" whichever curve answers;
                     ///< streams by their kernel
    Provenance provenance;
    Seconds time;  ///< summed
  };
  void add(const Op& op, const KernelTime& time);
  /// In the order in which they first occurred.
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

/// `kernels`, whose answers `log` is told; it must outlive them.
[[nodiscard]] std::unique_ptr<KernelModel> logged(std::unique_ptr<KernelModel> kernels,
                                                  KernelLog& log);

}  // namespace moesim
