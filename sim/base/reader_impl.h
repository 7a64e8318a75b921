#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/base/document_impl.h"
#include "sim/base/reader.h"

// Private to sim/base: how Reader looks values up, checks them and words its messages.

namespace moesim {

/// What people write by mistake instead of the plain unit: 3350 for 3350 GB/s.
struct Scale {
  double factor;
  const char* name;
};

/// The unit a number is in, for messages.
struct Unit {
  const char* suffix;  ///< " bytes/s", after a range
  std::span<const Scale> scales;
};

inline constexpr Scale kByteScales[] = {{1e9, "GB"}, {1e12, "TB"}, {1e6, "MB"}};
inline constexpr Scale kByteRateScales[] = {{1e9, "GB/s"}, {1e12, "TB/s"}, {1e6, "MB/s"}};
inline constexpr Scale kFlopRateScales[] = {{1e12, "TFLOPS"}, {1e15, "PFLOPS"}, {1e9, "GFLOPS"}};
inline constexpr Unit kPlain{"", {}};
inline constexpr Unit kByteUnit{" bytes", kByteScales};
inline constexpr Unit kByteRateUnit{" bytes/s", kByteRateScales};
inline constexpr Unit kFlopRateUnit{" flops/s", kFlopRateScales};

/// What a getter returns when the file has no usable value: harmless in later arithmetic.
[[nodiscard]] double harmless(Range range);
/// "expected a number, found text 'abc'".
[[nodiscard]] std::string expected(const char* what, const TreeNode& found);

struct Reader::Impl {
  const Tree* tree = nullptr;
  const TreeNode* node = nullptr;  ///< a mapping, or null: every key is absent
  std::string path;
  Place place;  ///< of the mapping, or of the nearest one around it
  Diagnostics* diagnostics = nullptr;
  /// The mapping itself was a mistake and is reported; what follows from that is noise.
  bool muted = false;
  std::vector<std::string> known;

  void know(const std::string& key);
  [[nodiscard]] const TreeNode::Entry* entry(const std::string& key) const;
  /// The value of a key, marked as known; null if absent or YAML null.
  [[nodiscard]] const TreeNode* value(const std::string& key);
  /// Like `value`, but absence is a mistake.
  [[nodiscard]] const TreeNode* required(const std::string& key, const char* what);
  /// The list at a key; null, after reporting, if it is something else.
  [[nodiscard]] const TreeNode* list(const std::string& key, const char* what);
  /// A reader of `found`, which must be a mapping; a muted empty one, after reporting, if it is
  /// not.
  [[nodiscard]] std::unique_ptr<Impl> child(const TreeNode* found, const Place& at,
                                            const std::string& key);

  /// Place of a key's value; of the mapping if there is none. Keys may be dotted ("nodes.0.count").
  [[nodiscard]] Place place_of(const std::string& key) const;
  void report(const Place& at, const std::string& key, const std::string& problem,
              const std::string& hint);
  void wrong_type(const Place& at, const std::string& key, const char* what, const TreeNode& found);

  /// These return nothing after reporting what is wrong with `found`.
  std::optional<double> to_number(const TreeNode& found, const std::string& key, Range range,
                                  const Unit& unit = kPlain);
  std::optional<std::int64_t> to_integer(const TreeNode& found, const std::string& key, Range range,
                                         const Unit& unit = kPlain);
  std::optional<std::string> to_text(const TreeNode& found, const std::string& key);

 private:
  void out_of_range(const TreeNode& found, const std::string& key, double value, Range range,
                    const Unit& unit);
};

}  // namespace moesim
