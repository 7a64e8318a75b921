#pragma once

#include <filesystem>
#include <vector>

#include "scenarios/scenario.h"

namespace moesim {

/// Reads, overrides, checks and resolves a scenario. Throws InputError with every mistake at once.
/// Paths inside the file are relative to it, paths in `overrides` to the current folder. Every
/// variant is loaded too (and its mistakes reported), but only described in the result:
/// `variant_overrides` makes one the scenario itself.
[[nodiscard]] Scenario load_scenario(const std::filesystem::path& path,
                                     const std::vector<Override>& overrides = {});
/// The same from text; `base_dir` resolves relative paths.
[[nodiscard]] Scenario load_scenario_text(const std::string& text, const std::string& file_name,
                                          const std::filesystem::path& base_dir,
                                          const std::vector<Override>& overrides = {});

/// Overrides that turn the base scenario into a variant, to be given after those of the command
/// line: the same seed, so the same random numbers. A scenario loaded with them has no variants of
/// its own.
[[nodiscard]] std::vector<Override> variant_overrides(const VariantSpec& variant);

}  // namespace moesim
