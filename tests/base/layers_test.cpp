// The order of the layers, which the compiler does not check: tests/layers.txt and layout.md.

#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

/// Folder -> folders it may include from, besides itself.
using Layers = std::map<std::string, std::set<std::string>>;

Layers parse_layers(std::istream& in) {
  Layers layers;
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(':');
    if (line.starts_with('#') || colon == std::string::npos) continue;
    std::istringstream words(line.substr(colon + 1));
    std::set<std::string>& allowed = layers[line.substr(0, colon)];
    for (std::string word; words >> word;) allowed.insert(word);
  }
  return layers;
}

/// "sim/engine" for sim/engine/events.h, "sim/build" for sim/build.cpp, "models" for everything
/// below models.
std::string layer_of(const fs::path& path) {
  auto part = path.begin();
  const std::string top = part->string();
  if ((top != "sim" && top != "calibrate") || ++part == path.end()) return top;
  return top + "/" + part->stem().string();
}

struct Include {
  std::string target;
  bool quoted;
};

std::vector<Include> includes_of(const std::string& text) {
  std::vector<Include> result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t hash = line.find_first_not_of(" \t");
    if (hash == std::string::npos || line.compare(hash, 1, "#") != 0) continue;
    if (line.find("include", hash) == std::string::npos) continue;
    const std::size_t open = line.find_first_of("\"<", hash);
    if (open == std::string::npos) continue;
    const std::size_t close = line.find_first_of("\">", open + 1);
    result.push_back({line.substr(open + 1, close - open - 1), line[open] == '"'});
  }
  return result;
}

/// Third-party libraries are known in few places, so that they can be replaced.
std::string third_party_mistake(const fs::path& file, const std::string& target) {
  const std::string name = file.generic_string();
  const bool header = file.extension() == ".h";
  if (target.starts_with("yaml-cpp/") && !(name.starts_with("sim/base/") && !header)) {
    return "yaml-cpp belongs in a .cpp file of sim/base";
  }
  if (target.starts_with("boost/graph/") && name != "hardware/topology.cpp") {
    return "Boost.Graph belongs in hardware/topology.cpp";
  }
  if (target.starts_with("CLI/") && !name.starts_with("sim/cli/")) {
    return "CLI11 belongs in sim/cli";
  }
  if (header && target.starts_with("nlohmann/") && target != "nlohmann/json_fwd.hpp") {
    return "nlohmann/json belongs in .cpp files (json_fwd.hpp may be in headers)";
  }
  return "";
}

std::string include_mistake(const fs::path& file, const Include& include, const Layers& layers) {
  if (!include.quoted) return third_party_mistake(file, include.target);
  const std::string from = layer_of(file);
  const std::string to = layer_of(include.target);
  if (!layers.contains(from)) return "the layer " + from + " is not in tests/layers.txt";
  if (!layers.contains(to)) return "\"" + include.target + "\" is not written from the root";
  if (from != to && !layers.at(from).contains(to)) return from + " may not include " + to;
  return "";
}

/// Every mistake in one file, as "path: what".
std::vector<std::string> mistakes_in(const fs::path& file, const std::string& text,
                                     const Layers& layers) {
  constexpr auto kMostLines = 400;
  std::vector<std::string> result;
  for (const Include& include : includes_of(text)) {
    const std::string mistake = include_mistake(file, include, layers);
    if (!mistake.empty()) result.push_back(file.generic_string() + ": " + mistake);
  }
  const auto lines = std::ranges::count(text, '\n');
  if (lines > kMostLines) {
    result.push_back(file.generic_string() + ": " + std::to_string(lines) +
                     " lines, the limit is " + std::to_string(kMostLines));
  }
  return result;
}

Layers our_layers() {
  std::ifstream file(fs::path(MOESIM_ROOT) / "tests" / "layers.txt");
  return parse_layers(file);
}

}  // namespace

TEST_CASE("every include points down, and libraries stay in their place") {
  const Layers layers = our_layers();
  REQUIRE(layers.contains("sim/base"));
  const fs::path root = MOESIM_ROOT;
  int files = 0;
  for (const char* top : {"sim", "models", "hardware", "scenarios", "calibrate"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cpp") continue;
      ++files;
      std::ifstream in(entry.path());
      const std::string text(std::istreambuf_iterator<char>(in), {});
      for (const std::string& mistake :
           mistakes_in(fs::relative(entry.path(), root), text, layers)) {
        FAIL_CHECK(mistake);
      }
    }
  }
  CHECK(files > 20);
}

TEST_CASE("the table of layers has no cycle and names only layers") {
  const Layers layers = our_layers();
  for (const auto& layer : layers) {
    const std::set<std::string>& allowed = layer.second;
    for (const std::string& other : allowed) {
      CAPTURE(layer.first);
      CAPTURE(other);
      REQUIRE(layers.contains(other));
      CHECK_FALSE(layers.at(other).contains(layer.first));
      // Transitive: what I may use may use only what I may use.
      for (const std::string& further : layers.at(other)) CHECK(allowed.contains(further));
    }
  }
}

TEST_CASE("the checker finds what it should") {
  std::istringstream table(
      "# a comment\nsim/base:\nmodels: sim/base\nsim/build: sim/base models\n");
  const Layers layers = parse_layers(table);
  struct Case {
    std::string why;
    const char* file;
    std::string text;
    const char* expect;
  };
  const Case cases[] = {
      {"down is fine", "models/op.h", "#include \"sim/base/units.h\"\n", ""},
      {"beside is fine", "models/families/gqa.cpp", "#include \"models/op.h\"\n", ""},
      {"up is not", "sim/base/a.h", "#include \"models/op.h\"\n",
       "sim/base/a.h: sim/base may not include models"},
      {"a file directly in sim has its own row", "sim/build.cpp", "#include \"models/op.h\"\n", ""},
      {"its header too", "models/op.cpp", "#include \"sim/build.h\"\n",
       "models/op.cpp: models may not include sim/build"},
      {"a folder nobody listed", "sim/extra/a.h", "#include \"models/op.h\"\n",
       "sim/extra/a.h: the layer sim/extra is not in tests/layers.txt"},
      {"relative includes hide the layer", "models/op.cpp", "#include \"op.h\"\n",
       "models/op.cpp: \"op.h\" is not written from the root"},
      {"spaces do not hide an include", "sim/base/a.h", " #  include \"models/op.h\"\n",
       "sim/base/a.h: sim/base may not include models"},
      {"yaml-cpp elsewhere", "models/op.cpp", "#include <yaml-cpp/yaml.h>\n",
       "models/op.cpp: yaml-cpp belongs in a .cpp file of sim/base"},
      {"yaml-cpp in a header", "sim/base/a.h", "#include <yaml-cpp/yaml.h>\n",
       "sim/base/a.h: yaml-cpp belongs in a .cpp file of sim/base"},
      {"yaml-cpp in its place", "sim/base/a.cpp", "#include <yaml-cpp/yaml.h>\n", ""},
      {"Boost.Graph elsewhere", "sim/build.cpp", "#include <boost/graph/adjacency_list.hpp>\n",
       "sim/build.cpp: Boost.Graph belongs in hardware/topology.cpp"},
      {"Boost.Graph in its place", "hardware/topology.cpp",
       "#include <boost/graph/adjacency_list.hpp>\n", ""},
      {"CLI11 elsewhere", "sim/build.cpp", "#include <CLI/CLI.hpp>\n",
       "sim/build.cpp: CLI11 belongs in sim/cli"},
      {"json in a header", "models/op.h", "#include <nlohmann/json.hpp>\n",
       "models/op.h: nlohmann/json belongs in .cpp files (json_fwd.hpp may be in headers)"},
      {"its forward declarations", "models/op.h", "#include <nlohmann/json_fwd.hpp>\n", ""},
      {"400 lines are allowed", "models/op.h", std::string(400, '\n'), ""},
      {"401 are not", "models/op.h", std::string(401, '\n'),
       "models/op.h: 401 lines, the limit is 400"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const std::vector<std::string> found = mistakes_in(c.file, c.text, layers);
    CHECK((found.empty() ? "" : found.front()) == std::string(c.expect));
  }
}
