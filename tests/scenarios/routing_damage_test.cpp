// Damaged traces end in an InputError that says where, or read as if nothing had happened (bytes
// between the parts mean nothing): never a crash, never other rows.
#include <doctest/doctest.h>
#include <optional>
#include <string>

#include "scenarios/routing_trace.h"
#include "sim/base/files.h"
#include "sim/base/random.h"
#include "tests/scenarios/routing_support.h"

namespace moesim {
namespace {

/// What a trace says, for comparison; nothing if it is refused with reasons.
std::optional<std::string> content_of(const std::string& bytes) {
  try {
    const RoutingTrace trace = parse_routing_trace(bytes, "x.mrt");
    if (const auto* const loads = std::get_if<StepLoads>(&trace)) return write_routing_csv(*loads);
    return write_mrt(std::get<RoutingTable>(trace), {.codec = MrtCodec::kNone});
  } catch (const InputError& error) {
    REQUIRE_FALSE(error.diagnostics().empty());
    for (const Diagnostic& diagnostic : error.diagnostics()) {
      REQUIRE_FALSE(diagnostic.problem.empty());
      REQUIRE_FALSE(diagnostic.hint.empty());
      REQUIRE(diagnostic.where.file == "x.mrt");
    }
    return std::nullopt;
  }
}

/// Flips bits of single bytes; returns how many flips were not refused.
int flip_bytes(const std::string& good, int flips, std::uint64_t seed) {
  const std::optional<std::string> expected = content_of(good);
  REQUIRE(expected.has_value());
  Rng rng(seed, "flips");
  int unseen = 0;
  std::string bytes = good;
  for (int i = 0; i < flips; ++i) {
    const std::size_t at = rng.below(static_cast<std::uint32_t>(good.size()));
    bytes[at] = static_cast<char>(bytes[at] ^ static_cast<char>(1 + rng.below(255)));
    const std::optional<std::string> content = content_of(bytes);
    if (content) REQUIRE(*content == *expected);
    unseen += content ? 1 : 0;
    bytes[at] = good[at];
  }
  return unseen;
}

// Acceptance check 1 of routing-traces.md 6, its second half.
TEST_CASE("every truncation of a file is refused") {
  for (const MrtCodec codec : {MrtCodec::kNone, MrtCodec::kZstd, MrtCodec::kZlib}) {
    const std::string good = write_mrt(small_table(), {.codec = codec, .rows_per_chunk = 2});
    for (std::size_t size = 0; size < good.size(); ++size) {
      CAPTURE(size);
      REQUIRE_FALSE(content_of(good.substr(0, size)).has_value());
    }
  }
}

TEST_CASE("a hundred thousand flipped bytes give no other rows") {
  // 5 rows in 3 chunks and some padding: four fifths of the plain file lie between its parts.
  const std::string packed =
      write_mrt(small_table(), {.codec = MrtCodec::kZstd, .rows_per_chunk = 2});
  CHECK(flip_bytes(packed, 100'000, 1) < 10'000);
  const std::string plain = write_mrt(small_table(), {.codec = MrtCodec::kNone});
  CHECK(flip_bytes(plain, 5'000, 2) > 0);
}

TEST_CASE("the real samples survive damage, too") {
  const auto tokens = routing_data("gpt_oss_20b_sample.tokens.mrt");
  if (is_missing(tokens)) return;
  const std::string plain = read_file(tokens);
  flip_bytes(plain, 2'000, 3);
  flip_bytes(read_file(routing_data("gpt_oss_20b_sample.steps.mrt")), 500, 4);
  for (std::size_t size = 0; size < plain.size(); size += 37)
    REQUIRE_FALSE(content_of(plain.substr(0, size)).has_value());
}

TEST_CASE("text cut anywhere is refused, or ends with a whole line") {
  const std::string text = write_routing_jsonl(small_table());
  int read = 0;
  for (std::size_t size = 0; size < text.size(); ++size)
    read += content_of(text.substr(0, size)).has_value() ? 1 : 0;
  // Behind the first sequence, with its line end or without, and without the last line end.
  CHECK(read == 3);
}

}  // namespace
}  // namespace moesim
