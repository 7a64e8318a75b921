#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/fit/sample.h"
#include "hardware/profile.h"
#include "sim/base/csv.h"

namespace moesim {

/// A file may hold a mistake in every row: more than these are not told.
inline constexpr std::size_t kMostTableMistakes = 20;

/// Sizes of a call are whole and within these: beyond, columns are exchanged or a file is damaged.
struct SizeRange {
  double least = 1;
  double most = 1e9;
};
inline constexpr SizeRange kFromZero{0, 1e9};
inline constexpr SizeRange kExpertCount{1, 65536};
inline constexpr SizeRange kTokenCount{1, 1e8};  ///< their routing is played token by token
inline constexpr SizeRange kMessageBytes{1, 1e15};

/// A CSV of kernel measurements, read by column name. Mistakes are collected, not thrown: a column
/// that is not there once, at the header.
class KernelTable {
 public:
  /// `family` and `system` are read from the file's name where it has the form FAMILY_SYSTEM.csv
  /// ("moe_h100_sxm.csv"), else left empty; a column `system` goes before the name.
  KernelTable(CsvTable table, const std::filesystem::path& path);

  [[nodiscard]] const std::string& system() const { return system_; }
  [[nodiscard]] const std::string& family() const { return family_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::size_t rows() const { return table_.rows().size(); }
  [[nodiscard]] bool has(std::string_view column) const;
  /// First of several names a column may have (ours, AIConfigurator's); its text, "" if absent.
  [[nodiscard]] std::string text(std::size_t row,
                                 std::initializer_list<std::string_view> names) const;
  /// A finite number; a mistake is noted and 0 returned. Absent column: `otherwise`.
  [[nodiscard]] double number(std::size_t row, std::initializer_list<std::string_view> names,
                              double otherwise = 0);
  /// A whole number within `range`; a mistake is noted and the least returned, as for an absent
  /// column without `otherwise`.
  [[nodiscard]] double size(std::size_t row, std::initializer_list<std::string_view> names,
                            SizeRange range = {}, std::optional<double> otherwise = std::nullopt);
  /// Microseconds of a call, within what a kernel takes (fit/sample.h); likewise.
  [[nodiscard]] double microseconds(std::size_t row, std::initializer_list<std::string_view> names);
  /// The same of a part of a call, which may take nothing.
  [[nodiscard]] double more_microseconds(std::size_t row,
                                         std::initializer_list<std::string_view> names,
                                         std::optional<double> otherwise = std::nullopt);
  /// A number format that hardware/dtypes.h knows, likewise; "bfloat16" for a mistake.
  [[nodiscard]] std::string format(std::size_t row, std::initializer_list<std::string_view> names);
  void mistake(std::size_t row, const std::string& column, const std::string& problem,
               const std::string& hint = "correct the row or take it out");
  /// Throws InputError if there were mistakes.
  void throw_if_any();

 private:
  [[nodiscard]] const CsvRow::Cell* cell(std::size_t row,
                                         std::initializer_list<std::string_view> names) const;
  /// The same; a column that is not there is noted.
  [[nodiscard]] const CsvRow::Cell* required(std::size_t row,
                                             std::initializer_list<std::string_view> names);
  [[nodiscard]] double time_in(const CsvRow::Cell& cell, std::string_view column, double least_us);
  void mistake_at(const CsvRow::Cell& cell, std::string_view column, const std::string& problem,
                  const std::string& hint);

  CsvTable table_;
  std::filesystem::path path_;
  std::string family_, system_;
  std::set<std::string> missing_;  ///< columns, noted already
  Diagnostics diagnostics_;
};

/// The kinds of tables `moesim import` takes, and the name of the importer for each.
struct KernelImporter {
  const char* name;  ///< "aic_ops"
  const char* description;
};
[[nodiscard]] const std::vector<KernelImporter>& kernel_importers();

struct KernelSamples {
  std::vector<KernelSample> samples;
  /// What was left out, or read with a reservation, and why.
  struct Note {
    std::string text;
    std::size_t rows = 0;  ///< left out; 0 if none was
  };
  std::vector<Note> notes;
  struct File {
    std::filesystem::path path;
    std::string sha256;
  };
  std::vector<File> files;  ///< those read, in order; not those skipped
  /// What sample files (calibrate/fit/sample_file.h) say of their origin; tables say nothing.
  std::string date;                            ///< the latest
  std::vector<KernelProfile::Source> sources;  ///< each once, in the order met
  /// Framework -> versions, where tables and samples tell them.
  std::map<std::string, std::set<std::string>> versions;
  bool measured = false;  ///< has samples that were not imported
  bool imported = false;
};

/// Reads one measurement table: the public tables of operator latencies (gemm, moe, attention_*,
/// mla_*, nccl, custom_allreduce, deepep_*, quantize), in our columns or AIConfigurator's, Vidur's
/// and the vLLM layer profiles. The kind is recognised by its columns; `importer` restricts it to
/// one importer's ("" for any). Also reads a file of samples, unless
/// an importer is named. Rows of kinds that
/// no form describes are skipped and told in `notes`. Throws InputError for a table of no known
/// kind, of another importer's and for every mistake in one.
[[nodiscard]] KernelSamples read_kernel_table(const std::filesystem::path& path,
                                              const std::string& importer = "");

/// A folder's tables (.csv, and AIConfigurator's _perf.txt) in the order of their paths, or one
/// file. Tables of a folder that are of another importer are skipped and told. Files of samples are
/// read where they are named, not in folders: one beside its tables would count them twice. Throws
/// InputError for a folder without tables.
[[nodiscard]] KernelSamples read_kernel_tables(const std::vector<std::filesystem::path>& paths,
                                               const std::string& importer = "");

}  // namespace moesim
