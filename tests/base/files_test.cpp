#include "sim/base/files.h"

#include <algorithm>
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>
#include <zlib.h>

#include "sim/base/diagnostic.h"

using namespace moesim;
namespace fs = std::filesystem;

namespace {

/// A fresh folder, removed at the end.
class Folder {
 public:
  Folder() {
    static int count = 0;
    path_ = fs::temp_directory_path() /
            ("moesim_files_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    fs::create_directories(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }
  [[nodiscard]] fs::path operator/(const std::string& name) const { return path_ / name; }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : fs::directory_iterator(path_)) {
      result.push_back(entry.path().filename().string());
    }
    return result;
  }

 private:
  fs::path path_;
};

void put(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// One gzip member, as gzip(1) would write it.
std::string packed(std::string content) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string result(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(content.data());
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  result.resize(stream.total_out);
  deflateEnd(&stream);
  return result;
}

/// The message of the InputError that `action` throws.
template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const InputError& error) {
    REQUIRE(error.diagnostics().size() == 1);
    CHECK_FALSE(error.diagnostics()[0].hint.empty());
    return error.what();
  }
  return "nothing was thrown";
}

std::string read_error(const fs::path& path) {
  return error_of([&] { (void)read_file(path); });
}

/// Sets an environment variable for a scope.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { ::unsetenv(name_); }

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("a file reads back as it was written") {
  const Folder folder;
  const std::string contents[] = {"", "a: 1\n", std::string("\0\xff\r\n", 4),
                                  std::string(300'000, 'x')};
  for (const std::string& content : contents) {
    write_file(folder / "f", content);
    CHECK(read_file(folder / "f") == content);
  }
  CHECK(folder.names() == std::vector<std::string>{"f"});
}

TEST_CASE("gzip is recognised by its first bytes, not by its name") {
  const Folder folder;
  const std::string long_text(200'000, 'y');
  struct Case {
    std::string why;
    std::string stored, expect;
  };
  const Case cases[] = {
      {"one member", packed("hello"), "hello"},
      {"an empty member", packed(""), ""},
      {"longer than a block", packed(long_text), long_text},
      {"members in a row are one file, as for gzip", packed("a\n") + packed("") + packed("b\n"),
       "a\nb\n"},
      {"zeros after the last member are padding", packed("a") + std::string(512, '\0'), "a"},
      {"one byte of the magic is plain text", "\x1f", "\x1f"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    put(folder / "trace.jsonl", c.stored);
    CHECK(read_file(folder / "trace.jsonl") == c.expect);
  }
}

TEST_CASE("a gzip stream cut anywhere says that it ends early") {
  const Folder folder;
  const std::string whole = packed("a trace that somebody stopped downloading");
  for (std::size_t length = 2; length < whole.size(); ++length) {
    CAPTURE(length);
    put(folder / "f.gz", whole.substr(0, length));
    CHECK(read_error(folder / "f.gz") ==
          (folder / "f.gz").string() +
              ": the gzip stream ends early; copy or download the file again");
  }
}

/// What zstd(1) writes for "hello" and for "a\n".
const std::string kHello("\x28\xb5\x2f\xfd\x04\x58\x29\0\0hello\xa3\x6d\x9f\x88", 18);
const std::string kLetter("\x28\xb5\x2f\xfd\x04\x58\x11\0\0a\n\x55\xc8\xcc\x1e", 15);

TEST_CASE("zstd is recognised by its first bytes, and damage to it is told") {
  const Folder folder;
  const auto stored = [&](const std::string& content) {
    put(folder / "f.zst", content);
    return folder / "f.zst";
  };
  CHECK(read_file(stored(kHello)) == "hello");
  CHECK(read_file(stored(kHello + kLetter)) == "helloa\n");
  for (std::size_t length = 4; length < kHello.size(); ++length) {
    CAPTURE(length);
    CHECK(read_error(stored(kHello.substr(0, length))) ==
          (folder / "f.zst").string() +
              ": the zstd stream ends early; copy or download the file again");
  }
  for (std::size_t at = 9; at < kHello.size(); ++at) {
    CAPTURE(at);
    std::string damaged = kHello;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    CHECK(read_error(stored(damaged)).find("the zstd stream is damaged") != std::string::npos);
  }
  CHECK(read_error(stored(kHello + "rubbish")).find("is damaged") != std::string::npos);
}

TEST_CASE("a damaged gzip stream never passes for data") {
  const Folder folder;
  const std::string content = "a trace with one wrong bit somewhere on its way";
  const std::string whole = packed(content);
  // Header fields (time, flags for speed, system) are free to differ; all else is checked.
  for (std::size_t at = 10; at < whole.size(); ++at) {
    CAPTURE(at);
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    put(folder / "f.gz", damaged);
    CHECK(read_error(folder / "f.gz").find("the gzip stream ") != std::string::npos);
  }
  put(folder / "f.gz", whole + "rubbish");
  CHECK(read_error(folder / "f.gz")
            .find("the gzip stream is damaged at byte " + std::to_string(whole.size())) !=
        std::string::npos);
  put(folder / "f.gz", whole + whole.substr(0, 12));
  CHECK(read_error(folder / "f.gz").find("ends early") != std::string::npos);
}

TEST_CASE("what cannot be read says why") {
  const Folder folder;
  CHECK(read_error(folder / "none") == (folder / "none").string() +
                                           ": cannot be opened: No such file or directory; check "
                                           "the path and its permissions");
  CHECK(read_error(folder / ".").find("is a folder") != std::string::npos);
  CHECK(read_error("").find("file name is empty") != std::string::npos);
}

TEST_CASE("missing folders are made") {
  const Folder folder;
  write_file(folder / "a/b/c.json", "{}");
  CHECK(read_file(folder / "a/b/c.json") == "{}");
}

TEST_CASE("a write that fails leaves the old file and nothing else") {
  const Folder folder;
  put(folder / "blocked", "a file where a folder is needed");
  CHECK(error_of([&] { write_file(folder / "blocked/f", "x"); }).find("folder cannot be made") !=
        std::string::npos);
  fs::create_directories(folder / "taken");
  CHECK(error_of([&] { write_file(folder / "taken", "x"); }).find("is a folder") !=
        std::string::npos);
  CHECK(error_of([&] { write_file("", "x"); }).find("file name is empty") != std::string::npos);
  const std::string long_name(300, 'n');
  CHECK(error_of([&] { write_file(folder / long_name, "x"); }).find("cannot be written") !=
        std::string::npos);
  std::vector<std::string> names = folder.names();
  std::ranges::sort(names);
  CHECK(names == std::vector<std::string>{"blocked", "taken"});
  CHECK(read_file(folder / "blocked") == "a file where a folder is needed");
}

TEST_CASE("a full disk is reported, not ignored") {
  if (!fs::exists("/dev/full")) return;
  CHECK(error_of([] { write_file("/dev/full", "x"); }) ==
        "/dev/full: cannot be written: No space left on device; check the disk and the path");
}

TEST_CASE("a device is written to, not replaced") {
  write_file("/dev/null", "x");
  CHECK(fs::is_character_file("/dev/null"));
}

TEST_CASE("a symbolic link keeps pointing where it did") {
  const Folder folder;
  put(folder / "real", "old");
  fs::create_symlink(folder / "real", folder / "link");
  write_file(folder / "link", "new");
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(read_file(folder / "real") == "new");
}

TEST_CASE("a relative name without a folder is written here") {
  const Folder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder / ".");
  write_file("here.txt", "x");
  fs::current_path(before);
  CHECK(read_file(folder / "here.txt") == "x");
}

TEST_CASE("shipped data is found by the variable first, then in the source tree") {
  {
    const Environment variable("MOESIM_DATA_DIR", "/some/where");
    CHECK(data_dir() == fs::path("/some/where"));
  }
  {
    const Environment variable("MOESIM_DATA_DIR", "");
    CHECK(data_dir() == fs::path(MOESIM_ROOT));
  }
}
