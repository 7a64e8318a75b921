#pragma once

#include <optional>
#include <string>

#include "scenarios/engine_profile.h"

namespace moesim {

/// Names and remarks of the measurement tables in our terms. A remark in brackets, as in
/// "H100-SXM-80GB (assumed)", is dropped.

/// Id of the shipped checkpoint that a published model name means: the last part of the id, in any
/// case, with or without endings that change no shape: tuning ("-Instruct"), a date ("-0324"), a
/// format ("-FP8").
[[nodiscard]] std::optional<std::string> shipped_model_of(const std::string& published);

/// The weight format that such a name ends with, as scenarios call it: "nvfp4" of
/// "DeepSeek-R1-0528-NVFP4"; empty if it names none.
[[nodiscard]] std::string format_in_name(const std::string& published);

/// Name of the shipped system of a card such as "H200-SXM-141GB" or "RTX PRO 6000", or as a driver
/// has it ("NVIDIA H100 80GB HBM3"); nothing if its memory differs.
[[nodiscard]] std::optional<std::string> shipped_system_of(const std::string& published);

/// Name of the shipped system that a driver or a folder's name means: "NVIDIA GeForce RTX 4090",
/// "rtx4090-llama-3.1-8b".
[[nodiscard]] std::optional<std::string> system_named_in(const std::string& text);

/// "vllm", "sglang" or "trtllm"; else the name as it is.
[[nodiscard]] std::string backend_of(const std::string& published);

/// The SXM system of a card whose form factor is left open: "A100-80GB (form factor not stated)",
/// "B200".
[[nodiscard]] std::optional<std::string> likely_system_of(const std::string& published);

/// The release of an engine in a row.
struct PublishedRelease {
  std::string version;     ///< "0.10.1"; "" for the newest
  bool from_date = false;  ///< not stated; the newest of the known ones dated before the row
};
/// Releases begin the cell ("0.15.1", "~0.3.3", "v0.5.9-cu130"); a build ("nightly-5b8c") or the
/// round of a benchmark ("MLPerf v4.1") is none. TensorRT-LLM 1.2.0rc0 to rc2 count as 1.1.
[[nodiscard]] PublishedRelease release_of(const std::string& backend, const std::string& published,
                                          const std::string& date);

/// A stated release without the marks before its number: "1.2.0rc2" of "~v1.2.0rc2".
[[nodiscard]] std::string without_marks(const std::string& published);

/// The number of a stated release, a candidate's too: {1, 2, 0} of "1.2.0rc2"; nothing of a build,
/// of a benchmark's round, or where none is stated.
[[nodiscard]] std::optional<Release> stated_number(const std::string& published);

/// The text before a remark in brackets or after a comma, without spaces around it.
[[nodiscard]] std::string without_remark(const std::string& text);

}  // namespace moesim
