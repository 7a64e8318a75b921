// Importers of kernel tables: they know what `calibrate` knows, and so stand above `scenarios`.
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/fit/sample_file.h"
#include "calibrate/import/kernel_table.h"
#include "scenarios/importer.h"
#include "sim/base/diagnostic.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"
#include "sim/cli/args.h"
#include "sim/cli/sources.h"
#include "sim/report/report.h"

namespace moesim {
namespace {

/// A table's name from the folder down that was given: where folders lie on this machine is
/// nobody's business.
std::string name_below(const std::filesystem::path& table,
                       const std::vector<std::filesystem::path>& inputs) {
  for (const std::filesystem::path& input : inputs) {
    const std::filesystem::path name = table.lexically_relative(input.parent_path());
    if (!name.empty() && *name.begin() != "..") return name.generic_string();
  }
  return table.filename().string();
}

std::string without_folders(std::string note, const std::vector<std::filesystem::path>& inputs) {
  for (const std::filesystem::path& input : inputs) {
    const std::string folder = input.parent_path().string() + "/";
    if (folder.size() > 1 && note.starts_with(folder)) note.erase(0, folder.size());
  }
  return note;
}

class KernelTables final : public Importer {
 public:
  KernelTables(std::string kind, Reader& parameters) {
    file_.importer = std::move(kind);
    file_.tool = fmt::format("moesim import {}", tool_version());
    file_.date = parameters.text_or("date", "");
    for (const std::string& source : parameters.texts_or_empty("source"))
      file_.sources.push_back(source_of("import", source));
  }

  [[nodiscard]] Result convert(const std::vector<std::filesystem::path>& inputs) const override {
    SampleFile file = file_;
    KernelSamples read = read_kernel_tables(inputs, file.importer);
    file.samples = std::move(read.samples);
    for (const KernelSamples::Note& note : read.notes)
      file.notes.push_back(without_folders(note.text, inputs));
    for (const auto& [framework, versions] : read.versions) {
      if (versions.size() == 1) file.versions[framework] = *versions.begin();
    }
    for (KernelSamples::File& table : read.files)
      file.inputs.push_back({name_below(table.path, inputs), std::move(table.sha256)});
    if (file.samples.empty())
      throw_input_error({{inputs.front().string(), 0, 0},
                         "",
                         "no samples",
                         "what was left out: " + (file.notes.empty() ? "nothing" : file.notes[0])});
    return {{{"", write_samples(file)}}, file.notes};
  }

 private:
  SampleFile file_;
};

/// All of them; at start-up, as every other kind of thing that is registered.
const std::vector<Register<Importer>> kImporters = [] {
  std::vector<Register<Importer>> all;
  for (const KernelImporter& importer : kernel_importers()) {
    const std::string name = importer.name;
    all.emplace_back(name, importer.description, [name](Reader& parameters) {
      return std::make_unique<KernelTables>(name, parameters);
    });
  }
  return all;
}();

}  // namespace
}  // namespace moesim
