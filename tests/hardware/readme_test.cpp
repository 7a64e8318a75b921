// hardware/README.md and what is registered or shipped must agree, both ways.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "hardware/collective.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

/// Lines of the section "## <title>".
std::vector<std::string> section(const std::string& title) {
  std::ifstream file(std::string(MOESIM_ROOT) + "/hardware/README.md");
  REQUIRE(file.good());
  std::vector<std::string> lines;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) {
      inside = line == "## " + title;
    } else if (inside) {
      lines.push_back(line);
    }
  }
  return lines;
}

/// Rows of the section's table by the name in backticks.
std::map<std::string, std::vector<std::string>> rows(const std::string& title) {
  std::map<std::string, std::vector<std::string>> result;
  for (const std::string& line : section(title)) {
    if (!line.starts_with("| `")) continue;
    std::vector<std::string> cells;
    std::stringstream stream(line.substr(1));
    for (std::string cell; std::getline(stream, cell, '|');) {
      const std::size_t first = cell.find_first_not_of(" `");
      const std::size_t last = cell.find_last_not_of(" `");
      if (first != std::string::npos) cells.push_back(cell.substr(first, last - first + 1));
    }
    result[cells.front()] = cells;
  }
  return result;
}

std::vector<std::string> names(const std::map<std::string, std::vector<std::string>>& table) {
  std::vector<std::string> result;
  for (const auto& [name, cells] : table) result.push_back(name);
  return result;
}

TEST_CASE("the table of systems is what is shipped, with the shipped numbers") {
  const auto table = rows("Systems");
  CHECK(names(table) == shipped_systems());
  for (const std::string& name : names(table)) {
    const std::vector<std::string>& cells = table.at(name);
    CAPTURE(name);
    REQUIRE(cells.size() == 8);
    const GpuSpec gpu = load_system(name, ".", Where()).gpu;
    const auto same = [&](const std::string& cell, double value) {
      if (cell == "-") return value == 0;
      return std::fabs(std::stod(cell) - value) <= 0.005 * value;
    };
    CHECK(same(cells[1], static_cast<double>(gpu.mem_capacity.value()) / (1 << 30)));
    CHECK(same(cells[2], gpu.mem_bw.value() / 1e12));
    CHECK(same(cells[3], gpu.bf16_peak.value() / 1e12));
    CHECK(same(cells[4], gpu.fp8_peak.value() / 1e12));
    CHECK(same(cells[5], gpu.fp4_peak.value() / 1e12));
  }
}

TEST_CASE("the list of links is what is shipped") {
  std::string text;
  for (const std::string& line : section("Links")) text += line + " ";
  std::vector<std::string> listed;
  std::stringstream stream(text.substr(0, text.find(':')));
  for (std::string word; stream >> word;) listed.push_back(word.substr(1, word.size() - 2));
  CHECK(listed == shipped_links());
}

TEST_CASE("the table of collectives is what is registered, and each has a test") {
  CHECK(names(rows("Collectives")) == Registry<CollectiveAlgorithm>::names());
  for (const std::string& name : Registry<CollectiveAlgorithm>::names()) {
    CAPTURE(name);
    CHECK(std::filesystem::exists(std::string(MOESIM_TEST_DIR) + "/hardware/collectives/" + name +
                                  "_test.cpp"));
    CHECK(std::filesystem::exists(std::string(MOESIM_ROOT) + "/hardware/collectives/" + name +
                                  ".cpp"));
    CHECK_FALSE(Registry<CollectiveAlgorithm>::find(name)->description.empty());
  }
}

}  // namespace
}  // namespace moesim
