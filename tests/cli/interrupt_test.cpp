// Ctrl-C: exit code 130 (glossary 3), and of every file either all or nothing.
#include <csignal>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <set>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// Takes seconds, of which an interrupt leaves next to nothing.
const char* const kLongRun = R"(schema_version: 1
name: long
model: Qwen/Qwen3-30B-A3B
system: {nodes: [{profile: h100_sxm, gpus: 2}]}
deployment: {instances: [{tensor_parallel_size: 2}]}
workload:
  arrival: {kind: poisson, request_rate: 55}
  synthetic: {num_prompts: 1000000, input_tokens: 512, output_tokens: 200}
variants:
  - {name: fp8-kv, set: {precision.kv_cache: fp8}}
)";

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Starts moesim in `folder`, with both outputs in files there. The child must not inherit the
/// handler of the test program: it would pass for the one we wait for.
pid_t start(const fs::path& folder, std::vector<std::string> arguments) {
  const auto own_handler = std::signal(SIGINT, SIG_DFL);
  const pid_t child = fork();
  if (child != 0) std::signal(SIGINT, own_handler);
  REQUIRE(child >= 0);
  if (child > 0) return child;
  if (chdir(folder.c_str()) != 0) _exit(99);
  for (const auto& [descriptor, name] : {std::pair(STDOUT_FILENO, "out"), {STDERR_FILENO, "err"}})
    dup2(open(name, O_CREAT | O_WRONLY, 0666), descriptor);
  arguments.insert(arguments.begin(), MOESIM_PROGRAM);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  execv(MOESIM_PROGRAM, pointers.data());
  _exit(98);
}

/// Whether a process handles SIGINT by now: the kernel's word, so that no time has to be guessed.
bool handles_interrupts(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("SigCgt:")) continue;
    return (std::stoull(line.substr(7), nullptr, 16) >> (SIGINT - 1) & 1U) != 0;
  }
  return false;
}

/// The exit code of a run that is interrupted as soon as it simulates; -1 if it died otherwise.
int interrupted(const fs::path& folder, const std::vector<std::string>& arguments) {
  const pid_t child = start(folder, arguments);
  int status = 0;
  while (!handles_interrupts(child)) {
    if (waitpid(child, &status, WNOHANG) != 0) return -1;
    sched_yield();
  }
  kill(child, SIGINT);
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct Folder {
  fs::path path = fs::temp_directory_path() / ("moesim_interrupt_" + std::to_string(getpid()));
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
    std::ofstream(path / "long.yaml") << kLongRun;
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

}  // namespace

TEST_CASE("an interrupted run ends with 130 and says in whole files what it did") {
  const Folder folder;
  const int code = interrupted(
      folder.path, {"run", "long.yaml", "--save-dir", "saved", "--timeline", "--quiet"});
  INFO(read(folder.path / "err"));
  CHECK(code == 130);
  CHECK(read(folder.path / "out").find("interrupted after") != std::string::npos);
  // The variant had not begun: it has no folder, and nothing is half written beside the files.
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder.path / "saved"))
    names.insert(entry.path().filename().string());
  CHECK(names ==
        std::set<std::string>{"comparison.json", "metrics.prom", "report.json", "trace.json"});
  const json report = json::parse(read(folder.path / "saved" / "report.json"));
  CHECK(report["warnings"].dump().find("interrupted after") != std::string::npos);
  CHECK(report["summary"]["completed"].get<int>() < 1'000'000);
  CHECK(report["summary"]["completed"].get<int>() + report["summary"]["failed"].get<int>() ==
        1'000'000);
  CHECK(json::parse(read(folder.path / "saved" / "trace.json")).contains("traceEvents"));
  CHECK(json::parse(read(folder.path / "saved" / "comparison.json"))["variants"].empty());
}

TEST_CASE("an interrupted run replaces the files of an earlier one, whole") {
  const Folder folder;
  fs::create_directories(folder.path / "saved");
  std::ofstream(folder.path / "saved" / "report.json") << "{\"earlier\": true}";
  CHECK(interrupted(folder.path, {"run", "long.yaml", "--save-dir", "saved", "--quiet"}) == 130);
  const json report = json::parse(read(folder.path / "saved" / "report.json"));
  CHECK_FALSE(report.contains("earlier"));
  CHECK(report["summary"].contains("completed"));
}

TEST_CASE("an interrupted validation saves what is finished, and says that it is a part") {
  const Folder folder;
  std::ofstream table(folder.path / "throughput.csv");
  table << "id,source_id,gpu,n_gpus,model,is_moe,weight_dtype,engine,engine_version,tp,isl,osl,"
           "len_dist,load_mode,concurrency,output_tok_s\n"
           "refused,s,H100-SXM-80GB,2,Mixtral-8x7B,1,bf16,LMDeploy,0.1,2,500,100,fixed,"
           "closed-loop,4,400\n";
  for (int i = 0; i < 400; ++i) {  // long prompts, long answers: a tenth of a second each
    table << "row" << i << ",s,H100-SXM-80GB,2,Mixtral-8x7B,1,bf16,vLLM,0.15.1,2," << 1000 + i
          << ",2000,fixed,closed-loop,256,400\n";
  }
  table.close();
  const int code = interrupted(folder.path, {"validate", "e2e", "throughput.csv", "--json",
                                             "out.json", "--markdown", "out.md", "--jobs", "1"});
  INFO(read(folder.path / "err"));
  CHECK(code == 130);
  const json part = json::parse(read(folder.path / "out.json"));
  const auto unreached = part["interrupted"]["unreached"].get<std::size_t>();
  CHECK(unreached > 0);
  // Each row is finished, refused or not reached, and none of them twice.
  CHECK(part["rows"].size() + part["unsupported"].size() + unreached == 401);
  CHECK(part["unsupported"][0]["id"] == "refused");
  const std::string note = "Interrupted: " + std::to_string(unreached) + " were not reached";
  CHECK(read(folder.path / "out.md").find(note) != std::string::npos);
  CHECK(read(folder.path / "err").find(note) != std::string::npos);
}
