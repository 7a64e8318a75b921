#include "scenarios/routing_bytes.h"

#include <fcntl.h>
#include <optional>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "sim/base/files.h"

namespace moesim {
namespace {

class Mapping {
 public:
  Mapping(void* address, std::size_t size) : address_(address), size_(size) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { ::munmap(address_, size_); }

 private:
  void* address_;
  std::size_t size_;
};

/// Maps the file behind a descriptor; nothing if it is no plain file that starts with `magic`.
std::optional<FileBytes> map(int descriptor, const std::string& magic) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size < magic.size()) return std::nullopt;
  std::string begin(magic.size(), '\0');
  const ssize_t count = ::pread(descriptor, begin.data(), begin.size(), 0);
  if (count != static_cast<ssize_t>(magic.size()) || begin != magic) return std::nullopt;
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (address == MAP_FAILED) return std::nullopt;
  FileBytes result;
  result.bytes = {static_cast<const std::byte*>(address), size};
  result.keeper = std::make_shared<const Mapping>(address, size);
  result.mapped = true;
  return result;
}

}  // namespace

FileBytes bytes_of(std::string content, const std::string& name) {
  const auto held = std::make_shared<const std::string>(std::move(content));
  FileBytes result;
  result.bytes = std::as_bytes(std::span(held->data(), held->size()));
  result.keeper = held;
  result.name = name;
  return result;
}

FileBytes open_bytes(const std::filesystem::path& path, const std::string& magic) {
  const int descriptor = path == "-" ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor >= 0) {
    std::optional<FileBytes> mapped = map(descriptor, magic);
    ::close(descriptor);
    if (mapped) {
      mapped->name = path.string();
      return *mapped;
    }
  }
  return bytes_of(read_file(path), path.string());
}

}  // namespace moesim
