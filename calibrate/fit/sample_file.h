#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/fit/sample.h"
#include "hardware/profile.h"

namespace moesim {

/// Kernel measurements as JSON lines, what importers and microbenchmarks write and fits read
/// (calibrate/README.md): a line about all of them, a line each, a line that closes the file.
struct SampleFile {
  std::string tool;      ///< "moesim import 0.1.0"
  std::string importer;  ///< "aic_ops"; "" where they were measured here
  std::string date;      ///< of the measurements, YYYY-MM-DD; "" unknown
  std::vector<KernelProfile::Source> sources;
  struct Input {
    std::string name;    ///< without its folder
    std::string sha256;  ///< 64 hexadecimal digits
  };
  std::vector<Input> inputs;                    ///< files the samples are from
  std::vector<std::string> notes;               ///< what was left out or assumed
  std::map<std::string, std::string> versions;  ///< of the frameworks, where they are known
  std::vector<KernelSample> samples;
  // Set by the reader:
  std::size_t measured = 0, imported = 0;  ///< samples by status
  std::vector<std::string> warnings;       ///< points left out, a file cut short
};

/// The file. Samples as imported ones if there is an importer. Numbers are written so that they
/// read back as the same bits: a fit of the file is the fit of `file.samples`, to the byte.
/// Precondition: times are finite and above 0.
[[nodiscard]] std::string write_samples(const SampleFile& file);

/// Whether a text is meant as a file of samples: its first line is a record of kind "run".
[[nodiscard]] bool is_sample_file(std::string_view text);

/// Reads it back. Points that were not measured (status skipped, invalid, throttled) are left out
/// and told in `warnings`, as is a file without its closing line. Throws InputError with file, line
/// and column of the first 20 mistakes: lines that are no JSON object, unknown, doubled and missing
/// keys, operators that no form describes, sizes that their form cannot do without and numbers out
/// of range, a count that is not that of the points.
[[nodiscard]] SampleFile read_samples(std::string_view text, const std::string& file_name);

}  // namespace moesim
