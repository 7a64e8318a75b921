#pragma once

#include <atomic>

namespace moesim {

/// From here on the first Ctrl-C sets stop_requested(): a clean end, what is finished is saved. The
/// second one does not wait for it.
void catch_interrupts();

[[nodiscard]] const std::atomic<bool>& stop_requested();

}  // namespace moesim
