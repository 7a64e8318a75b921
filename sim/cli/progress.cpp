#include "sim/cli/progress.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fmt/format.h>
#include <unistd.h>
#include <utility>

namespace moesim {
namespace {

constexpr auto kPatience = std::chrono::seconds(1);
constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr std::size_t kWidth = 40;

void draw(const std::string& label, std::int64_t done, std::int64_t total) {
  const double share = std::clamp(
      static_cast<double>(done) / static_cast<double>(std::max<std::int64_t>(total, 1)), 0.0, 1.0);
  const auto filled = static_cast<std::size_t>(share * kWidth);
  std::fputs(fmt::format("\r{} [{}{}] {:.0f} %\033[K", label, std::string(filled, '#'),
                         std::string(kWidth - filled, '.'), share * 100)
                 .c_str(),
             stderr);
  std::fflush(stderr);
}

}  // namespace

ProgressBar::ProgressBar(std::string label, const std::atomic<std::int64_t>& done,
                         const std::atomic<std::int64_t>& total)
    : label_(std::move(label)), done_(done), total_(total), thread_([this] { watch(); }) {}

ProgressBar::~ProgressBar() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  ended_.notify_one();
  thread_.join();
}

bool ProgressBar::is_wanted() {
  return isatty(STDERR_FILENO) == 1;
}

void ProgressBar::watch() {
  std::unique_lock lock(mutex_);
  if (ended_.wait_for(lock, kPatience, [this] { return end_; })) return;
  do {
    draw(label_, done_, total_);
  } while (!ended_.wait_for(lock, kRedraw, [this] { return end_; }));
  std::fputs("\r\033[K", stderr);
}

}  // namespace moesim
