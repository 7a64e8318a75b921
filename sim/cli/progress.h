#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace moesim {

/// Draws a bar on standard error from one second after its construction until its end, by a thread
/// of its own that looks at a counter: what it watches pays nothing.
class ProgressBar {
 public:
  /// `total` may be raised while work is still being found.
  ProgressBar(std::string label, const std::atomic<std::int64_t>& done,
              const std::atomic<std::int64_t>& total);
  /// Wipes the bar.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Whether standard error is a terminal.
  [[nodiscard]] static bool is_wanted();

 private:
  void watch();

  std::string label_;
  const std::atomic<std::int64_t>& done_;
  const std::atomic<std::int64_t>& total_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  std::thread thread_;
};

}  // namespace moesim
