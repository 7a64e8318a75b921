#include "calibrate/import/kernel_rows.h"

namespace moesim {

void read_mla_rows(KernelTable& table, KernelSamples& out) {
  out.notes.push_back(table.family() + ": not read yet");
}

}  // namespace moesim
