#pragma once

namespace moesim {

/// Has the first megabytes of the heap come in large pages where the system offers them, and keeps
/// what is freed there: a short run would else spend a tenth of its time on page faults. Costs no
/// memory until it is used. Call once, before threads; does nothing without glibc on Linux.
void prepare_heap();

}  // namespace moesim
