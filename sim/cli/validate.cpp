#include <chrono>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "sim/base/diagnostic.h"
#include "sim/base/files.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"
#include "sim/cli/interrupt.h"
#include "sim/validation/accuracy_report.h"
#include "sim/validation/accuracy_tables.h"
#include "sim/validation/validate_e2e.h"
#include "sim/validation/validate_ops.h"
#include "sim/validation/validate_runs.h"

namespace moesim {

namespace {

Validation validation_of(const Arguments& args) {
  const std::string& kind = args.inputs.front();
  const std::vector<std::filesystem::path> data(args.inputs.begin() + 1, args.inputs.end());
  if (kind == "ops") return validate_ops(data, &stop_requested());
  if (kind == "runs") return validate_runs(data, args.jobs, &stop_requested());
  if (kind == "e2e") return validate_e2e(data, args.jobs, &stop_requested());
  throw UsageError(fmt::format("validate: unknown kind '{}'; {}", kind,
                               nearest_name_hint(kind, {"ops", "runs", "e2e"})));
}

std::size_t rows_of(const Validation& validation) {
  std::set<std::string> ids;
  for (const ComparedValue& row : validation.rows) ids.insert(row.id);
  return ids.size();
}

AccuracyTitle title_of(const Arguments& args) {
  std::vector<std::string> names;
  for (std::size_t i = 1; i < args.inputs.size(); ++i)
    names.push_back(std::filesystem::path(args.inputs[i]).lexically_normal().filename().string());
  const std::string& kind = args.inputs.front();
  const char* const title = kind == "ops"    ? "Measured kernels"
                            : kind == "runs" ? "Recorded runs"
                                             : "Published operating points";
  return {title, fmt::format("data: {}", fmt::join(names, ", "))};
}

template <class Write>
void save(const std::filesystem::path& path, const Write& write) {
  std::ostringstream text;
  write(text);
  write_file(path, text.str());
}

}  // namespace

int validate_command(const Arguments& args) {
  catch_interrupts();
  const auto start = std::chrono::steady_clock::now();
  const Validation validation = validation_of(args);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (!args.quiet) {
    for (const std::string& warning : validation.warnings) std::cerr << warning << '\n';
  }
  if (!args.quiet && took.count() > 1) {
    std::cerr << fmt::format("moesim: {} values of {} rows predicted in {:.1f} s\n",
                             validation.rows.size(), rows_of(validation), took.count());
  }
  const AccuracyTitle title = title_of(args);
  const auto json = [&](std::ostream& out) { write_json(validation, out); };
  if (args.json) save(*args.json, json);
  if (args.markdown)
    save(*args.markdown, [&](std::ostream& out) { write_markdown(validation, title, out); });
  if (args.save_dir) {
    save(*args.save_dir / "validation.json", json);
    save(*args.save_dir / "validation.html",
         [&](std::ostream& out) { write_html(validation, title, out); });
  }
  if (args.format == OutputFormat::kJson) {
    json(std::cout);
  } else if (args.inputs.front() == "runs") {
    write_runs_text(validation, std::cout);
  } else {
    write_text(validation, std::cout);
  }
  if (validation.unreached == 0) return kExitOk;
  if (!args.quiet) std::cerr << "moesim: " << interruption(validation) << '\n';
  return kExitInterrupted;
}

}  // namespace moesim
