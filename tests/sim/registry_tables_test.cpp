// The tables of sim/README.md and what is registered must agree, both ways, and everything
// registered has its source and its test where they belong.
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "sim/base/registry.h"
#include "sim/engine/request_router.h"
#include "sim/engine/scheduler.h"

using namespace moesim;

namespace {

/// Names in the first column of the table under "## <title>", sorted as registries are.
std::vector<std::string> listed(const std::string& title) {
  std::ifstream file(std::string(MOESIM_ROOT) + "/sim/README.md");
  REQUIRE(file.good());
  std::vector<std::string> names;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) inside = line == "## " + title;
    if (!inside || !line.starts_with("| `")) continue;
    const std::size_t end = line.find('`', 3);
    names.push_back(line.substr(3, end - 3));
    const std::size_t told = line.find_first_not_of(" |", end + 1);
    CHECK_MESSAGE(told != std::string::npos, names.back(), " has no description");
  }
  std::sort(names.begin(), names.end());
  return names;
}

template <class Interface>
void check_table(const std::string& title, const std::string& folder) {
  CAPTURE(title);
  CHECK(listed(title) == Registry<Interface>::names());
  for (const std::string& name : Registry<Interface>::names()) {
    CAPTURE(name);
    namespace fs = std::filesystem;
    CHECK(fs::exists(std::string(MOESIM_ROOT) + "/sim/" + folder + "/" + name + ".cpp"));
    CHECK(fs::exists(std::string(MOESIM_TEST_DIR) + "/sim/" + folder + "/" + name + "_test.cpp"));
    CHECK_FALSE(Registry<Interface>::find(name)->description.empty());
  }
}

}  // namespace

TEST_CASE("the table of schedulers is what is registered") {
  check_table<Scheduler>("Schedulers", "schedulers");
}

TEST_CASE("the table of request routers is what is registered") {
  check_table<RequestRouter>("Request routers", "request_routers");
}
