#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/fit/sample.h"
#include "hardware/profile.h"
#include "sim/base/csv.h"

namespace moesim {

/// A file may hold a mistake in every row: more than these are not told.
inline constexpr std::size_t kMostTableMistakes = 20;

/// A CSV of kernel measurements, read by column name. Mistakes are collected, not thrown.
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
  /// A finite number above 0, likewise; 1 for a mistake.
  [[nodiscard]] double positive(std::size_t row, std::initializer_list<std::string_view> names);
  void mistake(std::size_t row, const std::string& column, const std::string& problem);
  /// Throws InputError if there were mistakes.
  void throw_if_any();

 private:
  [[nodiscard]] const CsvRow::Cell* cell(std::size_t row,
                                         std::initializer_list<std::string_view> names) const;
  CsvTable table_;
  std::filesystem::path path_;
  std::string family_, system_;
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
  bool measured = false;                       ///< has samples that were not imported
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
