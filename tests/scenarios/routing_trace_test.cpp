#include "scenarios/routing_trace.h"

#include <doctest/doctest.h>
#include <string>

#include "scenarios/routing_mrt.h"
#include "sim/base/files.h"
#include "tests/scenarios/routing_support.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

RoutingTable tokens(std::string content, const std::string& name = "x.mrt") {
  return std::get<RoutingTable>(parse_routing_trace(std::move(content), name));
}
StepLoads steps(std::string content, const std::string& name = "x.csv") {
  return std::get<StepLoads>(parse_routing_trace(std::move(content), name));
}

bool same_steps(const StepLoads& a, const StepLoads& b) {
  if (!(a.shape == b.shape) || a.counts != b.counts || a.steps.size() != b.steps.size())
    return false;
  for (std::size_t i = 0; i < a.steps.size(); ++i) {
    if (a.steps[i].number != b.steps[i].number || a.steps[i].time_us != b.steps[i].time_us ||
        a.steps[i].prefill_tokens != b.steps[i].prefill_tokens ||
        a.steps[i].decode_tokens != b.steps[i].decode_tokens)
      return false;
  }
  return true;
}

TEST_CASE("a table survives MRT with every codec and chunk size, and JSONL") {
  const RoutingTable table = small_table();
  for (const MrtCodec codec : {MrtCodec::kNone, MrtCodec::kZstd, MrtCodec::kZlib}) {
    for (const std::uint32_t rows : {1U, 2U, 4096U}) {
      CAPTURE(static_cast<int>(codec));
      CAPTURE(rows);
      const RoutingTable again = tokens(write_mrt(table, {.codec = codec, .rows_per_chunk = rows}));
      CHECK(same_rows(again, table));
      CHECK(describe(again) == describe(table));
    }
  }
  const RoutingTable again = tokens(write_routing_jsonl(table), "x.jsonl");
  CHECK(same_rows(again, table));
  CHECK(describe(again) == describe(table));
}

TEST_CASE("more than 256 experts take two bytes an id, in memory and in a file") {
  RoutingTable table({.layers = 1, .experts = 300, .top_k = 2}, 2);
  table.set(1, 0, 0, 299);
  table.set(1, 0, 1, 256);
  table.set(0, 0, 1, 1);
  table.sequences = {{0, 2, 0, 0, 0, 4, 0}};
  CHECK(same_rows(tokens(write_mrt(table)), table));
  CHECK(same_rows(tokens(write_routing_jsonl(table)), table));
  const TempFolder folder;
  const RoutingTable mapped =
      read_routed_tokens(folder.write("x.mrt", write_mrt(table, {.codec = MrtCodec::kNone})));
  mapped.check_all_rows();
  CHECK(same_rows(mapped, table));
}

TEST_CASE("router weights stay in JSONL, and MRT leaves them out") {
  RoutingTable table = small_table();
  for (int i = 0; i < 20; ++i) table.weights.push_back(0.25F * static_cast<float>(4 - i % 4));
  CHECK(tokens(write_routing_jsonl(table)).weights == table.weights);
  CHECK(tokens(write_mrt(table)).weights.empty());
}

TEST_CASE("step loads survive MRT and CSV") {
  StepLoads loads;
  loads.shape = {.layers = 1, .experts = 3, .top_k = 2};
  loads.steps = {{5, 0, 1, 2}, {9, 1, 0, 0}, {12, 2, 0, 50000}};
  loads.counts = {3, 2, 1, 0, 0, 0, 50000, 0, 50000};
  loads.model = "tiny";
  CHECK(same_steps(steps(write_routing_csv(loads)), loads));
  CHECK(same_steps(steps(write_mrt(loads, {.rows_per_chunk = 2})), loads));
  loads.steps[2].decode_tokens = 100000;  // counts of four bytes
  loads.counts[6] = loads.counts[8] = 100000;
  CHECK(same_steps(steps(write_mrt(loads, {.codec = MrtCodec::kZlib})), loads));
  loads.free_sum = true;
  CHECK(steps(write_routing_csv(loads)).free_sum);
  CHECK(steps(write_mrt(loads)).free_sum);
}

// Acceptance check 1 of routing-traces.md 6; damage is in routing_damage_test.cpp.
TEST_CASE("the three pairs of test vectors read equal") {
  const auto jsonl = routing_data("gpt_oss_20b_sample.tokens.jsonl");
  if (is_missing(jsonl)) return;
  const RoutingTable text = read_routed_tokens(jsonl);
  const RoutingTable mrt = read_routed_tokens(routing_data("gpt_oss_20b_sample.tokens.mrt"));
  CHECK(text.rows() == 96);
  CHECK(same_rows(text, mrt));
  CHECK(text.sequences.size() == 2);
  CHECK(mrt.domains[mrt.sequences[1].domain].name == text.domains[text.sequences[1].domain].name);
  CHECK(mrt.sequences[1].first_position == text.sequences[1].first_position);
  CHECK(mrt.sequences[1].source_id == text.sequences[1].source_id);
  // The same rows, in the full trace.
  const RoutingTable all = read_routed_tokens(routing_data("gpt_oss_20b_tokens.mrt"));
  CHECK(all.rows() == 82308);
  CHECK(all.sequences.size() == 256);
  CHECK(all.domains.size() == 90);
  CHECK(all.ranked);
  bool same = true;
  for (int i = 0; i < 48 * 24 * 4; ++i) {
    const int row = i / 96, layer = i / 4 % 24, rank = i % 4;
    same = same && all.expert(static_cast<std::uint64_t>(row), layer, rank) ==
                       text.expert(static_cast<std::uint64_t>(row), layer, rank);
  }
  CHECK(same);
  CHECK(same_rows(tokens(write_mrt(tokens(write_routing_jsonl(mrt)))), mrt));

  const auto csv =
      std::get<StepLoads>(read_routing_trace(routing_data("gpt_oss_20b_sample.steps.csv")));
  auto binary =
      std::get<StepLoads>(read_routing_trace(routing_data("gpt_oss_20b_sample.steps.mrt")));
  CHECK(csv.steps.size() == 8);
  CHECK(binary.steps.size() == 40);
  binary.steps.resize(8);
  binary.counts.resize(csv.counts.size());
  CHECK(same_steps(csv, binary));
}

TEST_CASE("an MRT file without compression is mapped, and damage is found where it is used") {
  RoutingTable table({.layers = 4, .experts = 256, .top_k = 8}, 4096 * 3);
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    for (int i = 0; i < 32; ++i)
      table.set(row, i / 8, i % 8, (i % 8) * 32 + static_cast<int>(row % 32));
  }
  table.sequences = {{0, 4096 * 3, 0, 0, 0, 4, 0}};
  std::string file = write_mrt(table, {.codec = MrtCodec::kNone});
  const TempFolder folder;
  CHECK(same_rows(read_routed_tokens(folder.write("good.mrt", file)), table));
  // A cell of the second chunk: header and index are as they were.
  const std::size_t second_chunk = 4096 + 4096 * 32;
  file[second_chunk + 100] = static_cast<char>(file[second_chunk + 100] ^ 1);
  const auto path = folder.write("bad.mrt", file);
  const RoutingTable bad = read_routed_tokens(path);
  bad.check_rows(0, 4096);
  bad.check_rows(8192, 4096);
  const Diagnostic mistake = first_mistake([&] { bad.check_rows(4095, 2); });
  CHECK(mistake.key == "byte " + std::to_string(second_chunk));
  CHECK(mistake.problem == "rows 4096 to 8191 do not match their checksum");
  CHECK(mistake.where.file == path.string());
  // In memory nothing is put off.
  CHECK(first_mistake([&] { static_cast<void>(tokens(file)); }).problem == mistake.problem);
}

// --- MRT files that are refused ------------------------------------------------------------------

/// Writes a little-endian number into a file.
template <class T>
void put(std::string& file, std::size_t at, T value) {
  std::string bytes;
  append_le(bytes, value);
  file.replace(at, bytes.size(), bytes);
}
std::uint32_t crc(const std::string& file, std::size_t at, std::size_t size) {
  return crc32_of(std::as_bytes(std::span(file.data() + at, size)));
}
/// Makes all checksums but those of chunks right again.
std::string sealed(std::string file) {
  const auto number = [&](std::size_t at) {
    return static_cast<std::size_t>(
        load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(file.data() + at)));
  };
  const std::size_t index = number(96), size = number(104);
  if (index + size + 16 <= file.size()) {
    for (std::size_t part = 0; part < 3; ++part) {
      const std::size_t at = number(64 + 16 * part), length = number(72 + 16 * part);
      if (at + length <= file.size()) put(file, index + size + 4 * part, crc(file, at, length));
    }
  }
  put(file, 124, crc(file, 0, 124));
  return file;
}

TEST_CASE("every fault of an MRT file has its own message and offset") {
  const std::string good =
      write_mrt(small_table(), {.codec = MrtCodec::kNone, .rows_per_chunk = 4});
  const auto number = [&](std::size_t at) {
    return static_cast<std::size_t>(
        load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(good.data() + at)));
  };
  const std::size_t sequences = number(80), index = number(96);
  const struct {
    std::size_t at;
    std::uint64_t value;
    int bytes;
    const char* key;
    const char* problem;
  } cases[] = {
      {0, 0x88, 1, "byte 0", "is no MRT file"},
      {8, 2, 2, "byte 8", "MRT version 2, not 1"},
      {12, 136, 4, "byte 12", "a header of 136 bytes, not 128"},
      {16, 3, 1, "byte 16", "mode 3, neither 1 (per-token) nor 2 (step-load)"},
      {17, 4, 1, "byte 17", "cells of 4 bytes, neither 1 nor 2"},
      {18, 3, 1, "byte 18", "codec 3, not none, zstd or zlib"},
      {19, 1, 1, "byte 19", "layout 1, not 0 (row-major)"},
      {20, 1, 4, "byte 20",
       "the flag for a sequence table and the number of sequences contradict each other"},
      {24, 0, 4, "byte 24", "0 layers, not 1 to 4096"},
      {28, 300, 4, "byte 17", "one byte an id is too little for 300 experts"},
      {32, 6, 4, "byte 24", "top-6 of 5 experts"},
      {40, 0, 8, "byte 40", "no rows"},
      {48, 3, 8, "byte 88", "a table of 64 bytes does not hold 3 sequences"},
      {56, 0, 4, "byte 56", "chunks of 0 rows"},
      {60, 3, 4, "byte 60", "3 chunks; 5 rows of 4 a chunk make 2"},
      {64, 1 << 20, 8, "byte 64", "the metadata lies outside the file"},
      {64, sequences, 8, "byte", "the sequence table begins inside the metadata"},
      {104, 41, 8, "byte 104", "an index of 41 bytes does not hold 2 chunks"},
      {112, 5, 8, "byte 112", "the file was written with 5 bytes and has"},
      {sequences, 1, 8, "byte", "sequence 0 has 3 rows from 1; one that goes on from row 0"},
      {sequences + 16, 9, 4, "byte", "sequence 0 has 9 prompt rows of 3"},
      {sequences + 40, 1, 4, "byte", "the sequences cover 4 of 5 rows"},
      {sequences + 20, 7, 2, "byte", "sequence 0 is of domain 7, which is not listed"},
      {index, 4097, 8, "byte", "chunk 0 starts at 4097, no multiple of 4096"},
      {index, 1 << 20, 8, "byte", "chunk 0 lies outside the file"},
      {index + 40, 4096, 8, "byte 4096", "chunk 1 begins inside chunk 0"},
      {index + 8, 15, 8, "byte", "chunk 0: 15 stored bytes cannot stand for 16"},
      {index + 16, 17, 8, "byte", "chunk 0 has 17 raw bytes; 4 rows of 4 make 16"},
      {index + 24, 1, 8, "byte", "chunk 0 has 4 rows from 1, not 4 from 0"},
      {index + 36, 1, 4, "byte 4096", "rows 0 to 3 do not match their checksum"},
  };
  for (const auto& row : cases) {
    CAPTURE(row.at);
    std::string file = good;
    for (int i = 0; i < row.bytes; ++i)
      file[row.at + static_cast<std::size_t>(i)] = static_cast<char>(row.value >> (8 * i) & 0xff);
    const Diagnostic mistake = first_mistake([&] { static_cast<void>(tokens(sealed(file))); });
    CHECK_MESSAGE(mistake.problem.find(row.problem) != std::string::npos, mistake.problem);
    CHECK_MESSAGE(mistake.key.starts_with(row.key), mistake.key);
    CHECK(mistake.where.file == "x.mrt");
    CHECK_FALSE(mistake.hint.empty());
  }
}

TEST_CASE("checksums, trailer and ids of an MRT file are verified") {
  const std::string good = write_mrt(small_table(), {.codec = MrtCodec::kNone});
  const auto problem = [&](const std::string& file) {
    return first_mistake([&] { static_cast<void>(tokens(file)); }).problem;
  };
  std::string file = good;
  file[41] = 1;
  CHECK(problem(file) == "the header does not match its checksum");
  file = good;
  file[130] = 'x';
  CHECK(problem(file) == "the metadata does not match its checksum");
  file = good;
  file[file.size() - 1] = 'x';
  CHECK(problem(file) == "no trailer after the chunk index");
  CHECK(problem(good + "x").find("and has") != std::string::npos);
  for (const auto& [id, expected] :
       {std::pair{9, "row 0, layer 0: expert 9 of 5"}, {2, "row 0, layer 0: expert 2 twice"}}) {
    file = good;
    file[4096] = static_cast<char>(id);
    const std::size_t entry = file.size() - 16 - 40;
    put(file, entry + 36, crc(file, 4096, 20));
    CHECK(problem(sealed(file)) == expected);
  }
}

TEST_CASE("a small file cannot claim much memory") {
  std::string file = write_mrt(small_table(), {.codec = MrtCodec::kZstd});
  put(file, 40, std::uint64_t{1} << 31);  // rows
  put(file, 56, std::uint32_t{0x80000000U});
  const std::size_t entry = file.size() - 16 - 40;
  put(file, entry + 16, std::uint64_t{1} << 33);
  put(file, entry + 32, std::uint32_t{0x80000000U});
  const Diagnostic mistake = first_mistake([&] { static_cast<void>(tokens(sealed(file))); });
  CHECK_MESSAGE(mistake.problem.find("cannot stand for") != std::string::npos, mistake.problem);
}

}  // namespace
}  // namespace moesim
