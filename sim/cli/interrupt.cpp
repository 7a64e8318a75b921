#include "sim/cli/interrupt.h"

#include <csignal>
#include <unistd.h>

#include "sim/cli/exit_codes.h"

namespace moesim {
namespace {

std::atomic<bool> stop{false};

void on_interrupt(int) {
  if (stop.exchange(true)) _exit(kExitInterrupted);
}

}  // namespace

void catch_interrupts() {
  std::signal(SIGINT, on_interrupt);
}

const std::atomic<bool>& stop_requested() {
  return stop;
}

}  // namespace moesim
