#pragma once

namespace moesim {

/// Prints `what` with its place and aborts (exit code 70 after the handler in sim/cli).
[[noreturn]] void check_failed(const char* condition, const char* what, const char* file, int line);

}  // namespace moesim

/// An invariant of ours that must hold in every build type: if it does not, we are wrong, not the
/// user.
#define MOESIM_CHECK(condition, what) \
  ((condition) ? static_cast<void>(0) \
               : ::moesim::check_failed(#condition, what, __FILE__, __LINE__))
