#include <algorithm>
#include <doctest/doctest.h>

#include "hardware/system.h"
#include "sim/base/reader.h"

namespace moesim {
namespace {

TEST_CASE("shipped links carry their line rate, one direction") {
  struct Row {
    const char* name;
    double gigabytes_per_s;
  };
  const Row rows[] = {
      {"nvlink3", 300},  {"nvlink4", 450},  {"nvlink5", 900},   {"pcie4", 32},
      {"pcie5", 64},     {"hdr_200g", 25},  {"ndr_400g", 50},   {"roce_100g", 12.5},
      {"roce_200g", 25}, {"roce_400g", 50}, {"tcp_25g", 3.125}, {"tcp_100g", 12.5},
      {"tcp_200g", 25},  {"tcp_400g", 50},
  };
  std::vector<std::string> seen;
  for (const Row& row : rows) {
    CAPTURE(row.name);
    seen.emplace_back(row.name);
    const LinkSpec link = load_link(row.name, Where());
    CHECK(link.name == row.name);
    CHECK(link.bandwidth.value() == doctest::Approx(row.gigabytes_per_s * 1e9));
    CHECK_FALSE(link.source.empty());
  }
  CHECK(seen == shipped_links());
}

TEST_CASE("InfiniBand is quicker than RoCE, RoCE than TCP") {
  const auto link = [](const char* name) { return load_link(name, Where()); };
  CHECK(link("ndr_400g").latency < link("roce_400g").latency);
  CHECK(link("roce_400g").latency < link("tcp_400g").latency);
  CHECK(link("ndr_400g").efficiency > link("roce_400g").efficiency);
  CHECK(link("roce_400g").efficiency > link("tcp_400g").efficiency);
}

std::string message(const std::string& text) {
  try {
    static_cast<void>(read_links(Document::parse(text, "l.yaml")));
  } catch (const InputError& error) {
    return to_text(error.diagnostics().front());
  }
  return "accepted";
}

TEST_CASE("a mistake in the links is reported at its place") {
  struct Case {
    const char* why;
    const char* text;
    const char* expect;
  };
  const Case cases[] = {
      {"good", "links:\n  x: {bandwidth: 1e9, latency: 1e-6, efficiency: 1, source: me}",
       "accepted"},
      {"no table", "link: {}", "l.yaml:1:1: links: required key is missing; write a mapping"},
      {"Gbit/s", "links:\n  x: {bandwidth: 400, latency: 1e-6, efficiency: 1, source: me}",
       "l.yaml:2:18: links.x.bandwidth: 400 is outside 1e8 to 1e13 bytes/s; 400 GB/s is written "
       "4e11"},
      {"microseconds", "links:\n  x: {bandwidth: 1e9, latency: 2, efficiency: 1, source: me}",
       "l.yaml:2:32: links.x.latency: 2 is outside 1e-08 to 0.01 s; 2 us is written 2e-06"},
      {"percent", "links:\n  x: {bandwidth: 1e9, latency: 1e-6, efficiency: 95, source: me}",
       "l.yaml:2:50: links.x.efficiency: 95 is outside 0.05 to 1; 95 % is written 0.95"},
      {"no source", "links:\n  x: {bandwidth: 1e9, latency: 1e-6, efficiency: 1}",
       "l.yaml:2:6: links.x.source: required key is missing; write text"},
      {"unknown key",
       "links:\n  x: {bandwidth: 1e9, latency: 1e-6, efficiency: 1, source: me, mtu: 9}",
       "l.yaml:2:65: links.x.mtu: unknown key; known: bandwidth, latency, efficiency, source"},
      {"not a mapping", "links:\n  x: 25e9",
       "l.yaml:2:6: links.x: expected a mapping, found the number 25e9; write a mapping"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(message(c.text) == c.expect);
  }
}

TEST_CASE("an unknown link is answered with the nearest") {
  try {
    static_cast<void>(load_link("ndr_400", Where{"s.yaml", 3, 1}));
    FAIL("accepted");
  } catch (const InputError& error) {
    CHECK(to_text(error.diagnostics().front()) ==
          "s.yaml:3:1: link: unknown link type 'ndr_400'; did you mean 'ndr_400g'?");
  }
}

}  // namespace
}  // namespace moesim
