#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>

#include "scenarios/routing_codec.h"
#include "scenarios/routing_table.h"

namespace moesim {

/// What a file of format moe-routing-trace 1 holds (routing-traces.md 1): tokens or step loads.
using RoutingTrace = std::variant<RoutingTable, StepLoads>;

/// Reads JSONL (per-token), CSV (step-load) or MRT (either), told apart by content; text may be
/// gzipped, "-" is standard input. Throws InputError with the mistakes found, each with its line
/// or byte.
///
/// An MRT file without compression is mapped: opening costs no more than its index, and rows are
/// checked when they are first asked for (RoutingTable::check_rows). Everything else is checked
/// and held in memory, at rows * row_bytes() bytes.
[[nodiscard]] RoutingTrace read_routing_trace(const std::filesystem::path& path);
/// The same for content in memory; `name` is for messages.
[[nodiscard]] RoutingTrace parse_routing_trace(std::string content, const std::string& name);
/// As read_routing_trace, for who needs tokens: step loads are a mistake.
[[nodiscard]] RoutingTable read_routed_tokens(const std::filesystem::path& path);

/// Whether content that begins so is a routing trace, in any of the three forms.
[[nodiscard]] bool is_routing_trace(std::string_view begin);

struct MrtOptions {
  MrtCodec codec = MrtCodec::kZstd;
  int level = 3;  ///< of compression; zstd 19 makes files a tenth smaller and takes far longer
  /// 4096 rows always fill whole pages, so that a file without compression can be mapped.
  std::uint32_t rows_per_chunk = 4096;
};
/// The content of an MRT file. Router weights have no place in it and are left out.
[[nodiscard]] std::string write_mrt(const RoutingTable& table, const MrtOptions& options = {});
[[nodiscard]] std::string write_mrt(const StepLoads& loads, const MrtOptions& options = {});
/// About four characters an id: for small traces.
[[nodiscard]] std::string write_routing_jsonl(const RoutingTable& table);
[[nodiscard]] std::string write_routing_csv(const StepLoads& loads);

}  // namespace moesim
