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

/// "vllm", "sglang" or "trtllm"; else the name as it is.
[[nodiscard]] std::string backend_of(const std::string& published);

/// The release of a row's engine.
struct PublishedRelease {
  std::string version;  ///< "0.10.1"; "" for the newest
  bool from_date =
      false;  ///< not stated; the newest that serving-semantics 0.2 dates before the row
};
[[nodiscard]] PublishedRelease release_of(const std::string& backend, const std::string& published,
                                          const std::string& date);

/// The text before a remark in brackets or after a comma, without spaces around it.
[[nodiscard]] std::string without_remark(const std::string& text);

}  // namespace moesim
