#pragma once

#include <algorithm>
#include <cstdint>

namespace moesim {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MOESIM_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MOESIM_SANITIZED 1
#endif
#endif

/// Sanitizers make a run ten times as slow and find bad memory in the first of a kind: they see one
/// of so many cases of a long table or loop. Prime to the usual lengths of tables, so that all
/// columns take turns. 1 without them, where laws are judged.
#ifdef MOESIM_SANITIZED
inline constexpr std::uint64_t kOneOf = 5;
#else
inline constexpr std::uint64_t kOneOf = 1;
#endif

/// Of `count` cases of a loop, as many as are worth their time.
constexpr std::uint64_t some_of(std::uint64_t count) {
  return std::max<std::uint64_t>(1, count / kOneOf);
}

/// Says of every case of a table whether to leave it out.
class Turns {
 public:
  bool skip() { return turn_++ % kOneOf != 0; }

 private:
  std::uint64_t turn_ = 0;
};

}  // namespace moesim
