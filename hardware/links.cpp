#include "hardware/read_scaled.h"
#include "hardware/system.h"
#include "sim/base/reader.h"

namespace moesim {

std::vector<LinkSpec> read_links(const Document& document) {
  Diagnostics diagnostics;
  Reader root(document, diagnostics);
  Reader rows = root.map("links");
  std::vector<LinkSpec> links;
  for (const std::string& name : rows.keys()) {
    Reader in = rows.map(name);
    LinkSpec link;
    link.name = name;
    link.bandwidth = in.bytes_per_s("bandwidth", {1e8, 1e13});
    link.latency = read_seconds(in, "latency", 1e-8);
    link.efficiency = read_ratio(in, "efficiency");
    link.source = in.text("source");
    in.reject_unknown_keys();
    links.push_back(link);
  }
  root.reject_unknown_keys();
  diagnostics.throw_if_any();
  return links;
}

}  // namespace moesim
