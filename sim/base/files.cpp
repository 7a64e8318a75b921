#include "sim/base/files.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <zlib.h>
#include <zstd.h>

#include "sim/base/diagnostic.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, std::string problem, std::string hint) {
  const Where where{path == "-" ? "<standard input or output>" : path.string()};
  throw_input_error({where, "", std::move(problem), std::move(hint)});
}

std::string reason(int error) {
  return std::error_code(error, std::generic_category()).message();
}

/// Closes a file descriptor at the end of a scope.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close_now(); }
  [[nodiscard]] int value() const { return value_; }
  /// 0, or the error: what a full disk may report only now.
  int close_now() {
    const int closing = std::exchange(value_, -1);
    return closing > STDERR_FILENO && ::close(closing) != 0 ? errno : 0;
  }

 private:
  int value_;
};

std::string read_all(int descriptor, const fs::path& path) {
  std::string content;
  std::string block(std::size_t{1} << 16, '\0');
  for (;;) {
    const ssize_t count = ::read(descriptor, block.data(), block.size());
    if (count == 0) return content;
    if (count > 0) {
      content.append(block, 0, static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      fail(path, "cannot be read: " + reason(errno), "check the path and its permissions");
    }
  }
}

/// 0, or the error.
int write_all(int descriptor, const std::string& content) {
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t count = ::write(descriptor, content.data() + done, content.size() - done);
    if (count < 0 && errno != EINTR) return errno;
    if (count > 0) done += static_cast<std::size_t>(count);
  }
  return 0;
}

constexpr const char* kGzipMagic = "\x1f\x8b";

/// One z_stream, released whatever happens.
class Inflater {
 public:
  Inflater() {
    constexpr int kGzipOnly = 15 + 16;  // zlib.h: 32 KiB window, gzip wrapper
    ready_ = inflateInit2(&stream_, kGzipOnly) == Z_OK;
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  [[nodiscard]] bool ready() const { return ready_; }
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

constexpr std::size_t kMostUnpacked = std::size_t{16} << 30;  // beyond any trace; stops bombs

constexpr const char* kZstdMagic = "\x28\xb5\x2f\xfd";  // RFC 8878, 3.1.1

std::string unpack_zstd(const std::string& packed, const fs::path& path) {
  const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(),
                                                                          ZSTD_freeDStream);
  if (stream == nullptr) fail(path, "cannot be unpacked", "is memory short?");
  std::string content, block(ZSTD_DStreamOutSize(), '\0');
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  for (bool more = true; more;) {
    ZSTD_outBuffer out{block.data(), block.size(), 0};
    const std::size_t left = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(left) != 0)
      fail(path, fmt::format("the zstd stream is damaged at byte {}", in.pos),
           "copy or download the file again");
    content.append(block, 0, out.pos);
    if (content.size() > kMostUnpacked) fail(path, "unpacks to more than 16 GiB", "split the file");
    more = in.pos < in.size || out.pos == out.size;
    if (!more && left != 0)
      fail(path, "the zstd stream ends early", "copy or download the file again");
  }
  return content;
}

/// Unpacks the gzip member at `begin`, appends it to `content` and returns where it ends.
std::size_t unpack_member(const std::string& packed, std::size_t begin, std::string& content,
                          const fs::path& path) {
  constexpr std::size_t kInputStep = std::size_t{1} << 30;  // avail_in has 32 bits
  Inflater inflater;
  if (!inflater.ready()) fail(path, "cannot be unpacked", "is memory short?");
  z_stream& stream = inflater.stream();
  std::string block(std::size_t{1} << 16, '\0');
  std::size_t at = begin;
  for (;;) {
    const std::size_t step = std::min(packed.size() - at, kInputStep);
    // zlib's interface is not const-correct; it does not write here.
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + at));
    stream.avail_in = static_cast<uInt>(step);
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    const int status = inflate(&stream, Z_NO_FLUSH);
    at += step - stream.avail_in;
    content.append(block, 0, block.size() - stream.avail_out);
    if (status == Z_STREAM_END) return at;
    if (status == Z_BUF_ERROR && at == packed.size()) {
      fail(path, "the gzip stream ends early", "copy or download the file again");
    }
    if (status != Z_OK) {
      fail(path, fmt::format("the gzip stream is damaged at byte {}", at),
           "copy or download the file again");
    }
    if (content.size() > kMostUnpacked) fail(path, "unpacks to more than 16 GiB", "split the file");
  }
}

/// gzip(1) also takes several members in a row, and zeros after the last (tape padding).
std::string unpack(const std::string& packed, const fs::path& path) {
  std::string content;
  std::size_t at = 0;
  do {
    at = unpack_member(packed, at, content, path);
  } while (packed.compare(at, 2, kGzipMagic) == 0);
  if (packed.find_first_not_of('\0', at) != std::string::npos) {
    fail(path, fmt::format("the gzip stream is damaged at byte {}", at),
         "copy or download the file again");
  }
  return content;
}

/// A name in the same folder (so that the rename stays on one disk) that no other writer uses.
fs::path temporary_beside(const fs::path& path) {
  static std::atomic<unsigned> count{0};
  fs::path result = path;
  result += fmt::format(".tmp-{}-{}", ::getpid(), count++);
  return result;
}

void write_descriptor(Descriptor& descriptor, const std::string& content, const fs::path& path) {
  int error = write_all(descriptor.value(), content);
  if (error == 0) error = descriptor.close_now();
  if (error != 0) fail(path, "cannot be written: " + reason(error), "check the disk and the path");
}

}  // namespace

std::string read_file(const fs::path& path) {
  if (path.empty()) fail(path, "the file name is empty", "give a path, or - for standard input");
  std::error_code error;
  if (fs::is_directory(path, error)) fail(path, "is a folder", "give a file");
  Descriptor descriptor(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (descriptor.value() < 0) {
    fail(path, "cannot be opened: " + reason(errno), "check the path and its permissions");
  }
  std::string content = read_all(descriptor.value(), path);
  if (content.starts_with(kZstdMagic)) return unpack_zstd(content, path);
  if (!content.starts_with(kGzipMagic)) return content;
  return unpack(content, path);
}

void write_file(const fs::path& path, const std::string& content) {
  constexpr int kMode = 0666;  // the umask takes away what it should
  if (path.empty()) fail(path, "the file name is empty", "give a path, or - for standard output");
  std::error_code error;
  if (fs::is_directory(path, error)) fail(path, "is a folder", "give a file name");
  if (path == "-") {
    std::fflush(stdout);
    Descriptor out(STDOUT_FILENO);
    return write_descriptor(out, content, path);
  }
  if (path.has_parent_path()) {
    fs::create_directories(path.parent_path(), error);
    if (error) {
      fail(path.parent_path(), "the folder cannot be made: " + error.message(),
           "check the path and its permissions");
    }
  }
  // A pipe or a device (/dev/null) is written to, not replaced.
  const bool in_place = fs::exists(path, error) && !fs::is_regular_file(path, error);
  // Through a symbolic link the file behind it is replaced, not the link.
  const fs::path target = in_place || !fs::exists(path, error) ? path : fs::canonical(path, error);
  const fs::path written = in_place ? path : temporary_beside(target);
  Descriptor out(in_place
                     ? ::open(written.c_str(), O_WRONLY | O_CLOEXEC)
                     : ::open(written.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode));
  if (out.value() < 0) {
    fail(path, "cannot be written: " + reason(errno), "check the path and its permissions");
  }
  try {
    write_descriptor(out, content, path);
    if (!in_place) fs::rename(written, target, error);
    if (error) fail(path, "cannot be replaced: " + error.message(), "check its permissions");
  } catch (...) {
    if (!in_place) fs::remove(written, error);
    throw;
  }
}

fs::path data_dir() {
  if (const char* const given = std::getenv("MOESIM_DATA_DIR"); given != nullptr && *given != 0) {
    return given;
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  fs::path installed = program.parent_path().parent_path() / "share" / "moesim";
  if (!error && fs::is_directory(installed, error)) return installed;
  return MOESIM_SOURCE_DIR;
}

}  // namespace moesim
