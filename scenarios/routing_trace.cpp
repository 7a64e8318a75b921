#include "scenarios/routing_trace.h"

#include <algorithm>
#include <utility>

#include "scenarios/routing_formats.h"
#include "scenarios/routing_mrt.h"
#include "scenarios/trace_text.h"

namespace moesim {
namespace {

constexpr std::string_view kFormat = "moe-routing-trace";

std::string_view text_of(const FileBytes& file) {
  return {reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size()};
}

RoutingTrace read_bytes(const FileBytes& file) {
  const std::string_view text = text_of(file);
  // A damaged magic still says what the file was meant to be.
  if (text.size() > 4 && text.substr(1, 3) == "MRT") return read_mrt(file);
  const std::size_t begin = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (begin != std::string_view::npos && text[begin] == '{')
    return read_routing_jsonl(text, file.name);
  if (begin != std::string_view::npos && text[begin] == '#')
    return read_routing_csv(text, file.name);
  refuse_file(file.name, "", "is no routing trace",
              "one begins with {\"format\":\"moe-routing-trace\" (JSONL), # "
              "format=moe-routing-trace (CSV) or the magic bytes of MRT");
}

}  // namespace

bool is_routing_trace(std::string_view begin) {
  if (begin.starts_with(kMrtMagic)) return true;
  const std::string_view line = begin.substr(0, begin.find_first_of("\r\n"));
  const std::size_t first = line.find_first_not_of(" \t\xef\xbb\xbf");
  if (first == std::string_view::npos || (line[first] != '{' && line[first] != '#')) return false;
  return line.find(kFormat) != std::string_view::npos;
}

RoutingTrace read_routing_trace(const std::filesystem::path& path) {
  return read_bytes(open_bytes(path, std::string(kMrtMagic)));
}

RoutingTrace parse_routing_trace(std::string content, const std::string& name) {
  return read_bytes(bytes_of(std::move(content), name));
}

RoutingTable read_routed_tokens(const std::filesystem::path& path) {
  RoutingTrace trace = read_routing_trace(path);
  if (auto* const table = std::get_if<RoutingTable>(&trace)) return std::move(*table);
  refuse_file(path.string(), "", "holds step loads, which do not say what each token chose",
              "give a per-token trace; kind: step_loads replays steps");
}

}  // namespace moesim
