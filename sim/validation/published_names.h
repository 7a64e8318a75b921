#pragma once

#include <optional>
#include <string>

namespace moesim {

/// Names and remarks of the measurement tables in our terms. A remark in brackets, as in
/// "H100-SXM-80GB (assumed)", is dropped.

/// Id of the shipped checkpoint that a published model name means: the last part of the id, in any
/// case, with or without endings such as "-hf" or "-Instruct" that change no shape.
[[nodiscard]] std::optional<std::string> shipped_model_of(const std::string& published);

/// Name of the shipped system of a card such as "H200-SXM-141GB"; nothing if its memory differs.
[[nodiscard]] std::optional<std::string> shipped_system_of(const std::string& published);

/// Name of the shipped system that a driver or a folder's name means: "NVIDIA GeForce RTX 4090",
/// "rtx4090-llama-3.1-8b".
[[nodiscard]] std::optional<std::string> system_named_in(const std::string& text);

/// "vllm", "sglang" or "trtllm"; else the name as it is.
[[nodiscard]] std::string backend_of(const std::string& published);

/// The SXM system of a card whose form factor is left open: "A100-80GB (form factor not stated)".
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

/// The text before a remark in brackets or after a comma, without spaces around it.
[[nodiscard]] std::string without_remark(const std::string& text);

}  // namespace moesim
