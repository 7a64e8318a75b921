#include <algorithm>
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <vector>

// Runs every tests/cli/*.test: command lines and their exact output. A file holds, in any order,
//
//   # a comment
//   file NAME      a file for the commands below, up to "end"
//   end
//   $ COMMAND      run by sh in a folder of its own; moesim is on the PATH, $ROOT our sources
//                  expected lines of standard output
//   stderr:        and of standard error; without it, there must be none
//                  expected lines
//   exit: N        ends the expectation
//
// In expectations "..." stands for any text within a line, and alone on a line for any lines.

namespace fs = std::filesystem;

namespace {

using Lines = std::vector<std::string>;

struct Step {
  int line = 0;  ///< in the .test file
  std::string command;
  Lines out, err;
  int exit = 0;
};

struct Script {
  std::vector<std::pair<std::string, std::string>> files;
  std::vector<Step> steps;
  std::string problem;  ///< why it is no script
};

Lines read_lines(const fs::path& path) {
  std::ifstream in(path);
  Lines lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

bool is_exit(const std::string& line) {
  return line.starts_with("exit: ") && line.size() > 6 &&
         line.find_first_not_of("0123456789", 6) == std::string::npos;
}

/// Reads one expectation; `next` is the line after its command.
void read_step(const Lines& lines, std::size_t& next, Script& script) {
  Step& step = script.steps.back();
  Lines* part = &step.out;
  for (; next < lines.size(); ++next) {
    const std::string& line = lines[next];
    if (is_exit(line)) {
      step.exit = std::atoi(line.c_str() + 6);
      ++next;
      return;
    }
    if (line == "stderr:") {
      part = &step.err;
    } else {
      part->push_back(line);
    }
  }
  script.problem = "no exit: after $ " + step.command;
}

Script read_script(const fs::path& path) {
  const Lines lines = read_lines(path);
  Script script;
  for (std::size_t next = 0; next < lines.size() && script.problem.empty();) {
    const std::string& line = lines[next++];
    if (line.empty() || line.starts_with("#")) continue;
    if (line.starts_with("file ")) {
      std::string text;
      for (; next < lines.size() && lines[next] != "end"; ++next) text += lines[next] + "\n";
      ++next;
      script.files.emplace_back(line.substr(5), text);
    } else if (line.starts_with("$ ")) {
      script.steps.push_back({static_cast<int>(next), line.substr(2), {}, {}, 0});
      read_step(lines, next, script);
    } else {
      script.problem = "line " + std::to_string(next) + " is neither file, $ nor a comment";
    }
  }
  return script;
}

/// Whether `text` is `pattern`, whose "..." stands for anything.
bool line_matches(const std::string& pattern, const std::string& text) {
  const std::size_t dots = pattern.find("...");
  if (dots == std::string::npos) return pattern == text;
  if (text.compare(0, dots, pattern, 0, dots) != 0) return false;
  const std::string rest = pattern.substr(dots + 3);
  for (std::size_t at = dots; at <= text.size(); ++at) {
    if (line_matches(rest, text.substr(at))) return true;
  }
  return false;
}

bool lines_match(const Lines& expected, std::size_t i, const Lines& actual, std::size_t j) {
  if (i == expected.size()) return j == actual.size();
  if (expected[i] == "...") {
    for (std::size_t skip = j; skip <= actual.size(); ++skip) {
      if (lines_match(expected, i + 1, actual, skip)) return true;
    }
    return false;
  }
  return j < actual.size() && line_matches(expected[i], actual[j]) &&
         lines_match(expected, i + 1, actual, j + 1);
}

std::string join(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(fs::temp_directory_path() / ("moesim_cli_" + name + "_" + std::to_string(getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_ / "work");
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] fs::path work() const { return path_ / "work"; }
  [[nodiscard]] fs::path beside(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

int run_shell(const Folder& folder, const std::string& command) {
  const std::string line = "cd '" + folder.work().string() + "' && { " + command + "\n} >'" +
                           folder.beside("out").string() + "' 2>'" + folder.beside("err").string() +
                           "' </dev/null";
  const int status = std::system(line.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void run_script(const fs::path& path) {
  const Script script = read_script(path);
  REQUIRE_MESSAGE(script.problem.empty(), (path.string() + ": " + script.problem));
  const Folder folder(path.stem().string());
  for (const auto& [name, text] : script.files) {
    fs::create_directories((folder.work() / name).parent_path());
    std::ofstream(folder.work() / name) << text;
  }
  for (const Step& step : script.steps) {
    INFO(path.filename().string() << ":" << step.line << ": $ " << step.command);
    const int exit = run_shell(folder, step.command);
    const Lines out = read_lines(folder.beside("out"));
    const Lines err = read_lines(folder.beside("err"));
    INFO("standard output was\n" << join(out) << "standard error was\n" << join(err));
    CHECK(exit == step.exit);
    CHECK_MESSAGE(lines_match(step.out, 0, out, 0), "standard output should be\n"
                                                        << join(step.out));
    CHECK_MESSAGE(lines_match(step.err, 0, err, 0), "standard error should be\n" << join(step.err));
  }
}

void set_environment() {
  const std::string folder = fs::path(MOESIM_PROGRAM).parent_path().string();
  const char* old_path = std::getenv("PATH");
  setenv("PATH", (folder + ":" + (old_path == nullptr ? "" : old_path)).c_str(), 1);
  setenv("ROOT", MOESIM_ROOT, 1);
}

}  // namespace

TEST_CASE("command lines print what they should") {
  set_environment();
  std::vector<fs::path> scripts;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(fs::path(MOESIM_TEST_DIR) / "cli")) {
    if (entry.path().extension() == ".test") scripts.push_back(entry.path());
  }
  std::sort(scripts.begin(), scripts.end());
  REQUIRE(scripts.size() > 5);
  for (const fs::path& script : scripts) run_script(script);
}

TEST_CASE("patterns match within a line and over lines") {
  CHECK(line_matches("a...c", "abbc"));
  CHECK(line_matches("a...", "a"));
  CHECK(line_matches("...b...d", "abbcd"));
  CHECK_FALSE(line_matches("a...c", "abcd"));
  CHECK(lines_match({"a", "...", "c"}, 0, {"a", "c"}, 0));
  CHECK(lines_match({"...", "c"}, 0, {"a", "b", "c"}, 0));
  CHECK_FALSE(lines_match({"a", "..."}, 0, {"b"}, 0));
}
