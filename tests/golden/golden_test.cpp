// Every scenario of the gallery, run by the program itself: what it prints, its exit code and its
// report must not change unnoticed. MOESIM_ACCEPT=1 rewrites the files; review the diff like code.
// A golden file freezes mistakes too: laws and hand-worked tests stand beside it.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Standard output and error of a command, then its exit code.
std::string run(const std::string& command) {
  std::string text;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 4096> buffer{};
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe))
    text.append(buffer.data(), n);
  const int status = pclose(pipe);
  return text + "exit: " + std::to_string(WEXITSTATUS(status)) + "\n";
}

/// What may differ between two runs of the same thing: how long they took, and which build made
/// them.
std::string without_run_facts(const std::string& json) {
  Json report = Json::parse(json);
  report.erase("simulator");
  report.erase("tool_version");
  return report.dump(1) + "\n";
}

std::string without_wall_time(const std::string& text) {
  static const std::regex kTime(" steps in [0-9.]+ m?s;");
  return std::regex_replace(text, kTime, " steps;");
}

void compare(const fs::path& golden, const std::string& actual) {
  if (std::getenv("MOESIM_ACCEPT") != nullptr) {
    fs::create_directories(golden.parent_path());
    std::ofstream(golden, std::ios::binary) << actual;
    return;
  }
  INFO("golden file " << golden.string() << "; MOESIM_ACCEPT=1 rewrites it");
  REQUIRE_MESSAGE(fs::exists(golden), "no golden file");
  const std::string expected = read(golden);
  if (expected == actual) return;
  std::istringstream old_lines(expected), new_lines(actual);
  std::string was, is;
  for (int line = 1;; ++line) {
    const bool more_old = static_cast<bool>(std::getline(old_lines, was));
    const bool more_new = static_cast<bool>(std::getline(new_lines, is));
    if (!more_old && !more_new) break;
    if (was != is || more_old != more_new) {
      FAIL("line " << line << " was: " << was << "\n        is: " << is);
      break;
    }
  }
}

std::vector<fs::path> gallery() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(MOESIM_ROOT) / "scenarios")) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// A ctest entry runs one of these: they are long, and every core should have one.
TEST_CASE("every gallery scenario prints and reports what it did before") {
  const fs::path out = fs::temp_directory_path() / ("moesim_golden_" + std::to_string(getpid()));
  for (const fs::path& scenario : gallery()) {
    const std::string name = scenario.stem().string();
    SUBCASE(name.c_str()) {
      CAPTURE(name);
      fs::remove_all(out / name);
      const fs::path golden = fs::path(MOESIM_TEST_DIR) / "golden" / name;
      const std::string printed = run(std::string(MOESIM_PROGRAM) + " run scenarios/" + name +
                                      ".yaml --quiet --save-dir " + (out / name).string());
      compare(golden / "stdout.txt", without_wall_time(printed));
      if (fs::exists(out / name / "report.json")) {
        compare(golden / "report.json", without_run_facts(read(out / name / "report.json")));
      }
    }
  }
  fs::remove_all(out);
}

TEST_CASE("the README shows what the quickstart really prints") {
  const std::string readme = without_wall_time(read(fs::path(MOESIM_ROOT) / "README.md"));
  const std::string printed =
      without_wall_time(read(fs::path(MOESIM_TEST_DIR) / "golden/01_quickstart/stdout.txt"));
  const std::string first = printed.substr(0, printed.find("in use, mean"));
  CHECK(readme.find(first) != std::string::npos);
  const std::size_t last = printed.find("simulated ");
  CHECK(readme.find(printed.substr(last, printed.find('\n', last) - last)) != std::string::npos);
}

TEST_CASE("no golden folder is left without its scenario") {
  for (const auto& entry : fs::directory_iterator(fs::path(MOESIM_TEST_DIR) / "golden")) {
    if (!entry.is_directory()) continue;
    CAPTURE(entry.path().string());
    CHECK(fs::exists(fs::path(MOESIM_ROOT) / "scenarios" /
                     (entry.path().filename().string() + ".yaml")));
  }
}

}  // namespace
