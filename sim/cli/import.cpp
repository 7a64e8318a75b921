#include <filesystem>
#include <fmt/format.h>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "scenarios/importer.h"
#include "sim/base/files.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"

namespace moesim {
namespace {

/// What the command line says of the measurements, as parameters of an importer.
std::string parameters_of(const Arguments& args) {
  nlohmann::json parameters = nlohmann::json::object();
  if (!args.date.empty()) parameters["date"] = args.date;
  if (!args.sources.empty()) parameters["source"] = args.sources;
  return parameters.dump();
}

std::unique_ptr<Importer> find_importer(const Arguments& args) {
  const std::string& kind = args.inputs.front();
  const Registry<Importer>::Entry* entry = Registry<Importer>::find(kind);
  if (entry == nullptr) {
    throw UsageError(fmt::format("import: unknown kind '{}'; {}", kind,
                                 nearest_name_hint(kind, Registry<Importer>::names())));
  }
  const Document given = Document::parse(parameters_of(args), "import");
  Diagnostics diagnostics;
  Reader parameters(given, diagnostics);
  std::unique_ptr<Importer> importer = entry->make(parameters);
  parameters.reject_unknown_keys();
  if (!diagnostics.empty())
    throw UsageError(fmt::format(
        "import: --source and --date have no effect on {}; they are for tables of kernels", kind));
  return importer;
}

/// "" is the file the user named; ".blocks.jsonl" lies beside it under the same stem.
std::filesystem::path output_path(const std::string& out, const std::string& suffix) {
  if (suffix.empty()) return out;
  std::filesystem::path path(out);
  path.replace_extension();
  return path.string() + suffix;
}

}  // namespace

int import_command(const Arguments& args) {
  const std::unique_ptr<Importer> importer = find_importer(args);
  const std::vector<std::filesystem::path> files(args.inputs.begin() + 1, args.inputs.end());
  const std::string out = args.out.value_or("-");
  const Importer::Result result = importer->convert(files);
  for (const auto& [suffix, content] : result.files) {
    if (out == "-" && !suffix.empty()) {
      std::cerr << fmt::format("moesim: {} is left out; write to a file with -o to keep it\n",
                               suffix);
      continue;
    }
    write_file(output_path(out, suffix), content);
  }
  if (!args.quiet) {
    for (const std::string& note : result.notes) std::cerr << note << '\n';
  }
  return kExitOk;
}

}  // namespace moesim
