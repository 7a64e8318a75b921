// Any bytes: either InputError, or a document that reads, changes and writes back to itself.
// Build with clang++ -fsanitize=fuzzer,address,undefined.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "sim/base/check.h"
#include "sim/base/reader.h"

namespace {

using moesim::Diagnostics;
using moesim::Document;
using moesim::InputError;
using moesim::Reader;

std::optional<Document> parsed(const std::string& text) {
  try {
    return Document::parse(text, "fuzz.yaml");
  } catch (const InputError& error) {
    MOESIM_CHECK(!error.diagnostics().empty(), "an error says why");
    for (const moesim::Diagnostic& diagnostic : error.diagnostics()) {
      MOESIM_CHECK(!diagnostic.hint.empty(), "an error says what to do");
    }
    return std::nullopt;
  }
}

void read_all(Reader& in, int depth) {
  for (const std::string& key : in.keys()) {
    in.text_or(key, "");
    in.integer_or(key, 1, {.min = 1, .max = 100});
    in.number_or(key, 1, {});
    in.boolean_or(key, false);
    in.choice_or(key, {"poisson", "gamma"}, "poisson");
    in.numbers_or(key, {}, {});
    in.texts_or_empty(key);
    in.raw(key);
    if (depth > 4) continue;
    Reader child = in.map_or_empty(key);
    read_all(child, depth + 1);
    for (Reader& item : in.maps_or_empty(key)) read_all(item, depth + 1);
  }
  in.bytes("mem_capacity", {.min = 1e9, .max = 1e12});
  in.flops_per_s("peak", {.min = 1e12, .max = 1e17});
  in.reject_unknown_keys();
}

void expect_same(const Document& document, const std::string& text) {
  const std::optional<Document> again = parsed(text);
  MOESIM_CHECK(again.has_value(), "what we write can be read");
  MOESIM_CHECK(again->to_json() == document.to_json(), "and means the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  std::optional<Document> document = parsed(text);
  if (!document) return 0;
  expect_same(*document, document->to_json());
  Diagnostics diagnostics;
  Reader root(*document, diagnostics);
  read_all(root, 0);
  // The same text as a value of --set, and as a path.
  const std::string half = text.substr(0, size / 2);
  const struct {
    std::string path, value;
  } sets[] = {{"a.b.0", text}, {"a.b.1.c", half}, {half, "1"}, {"a", text.substr(size / 2)}};
  for (const auto& [path, value] : sets) {
    try {
      document->set(path, value, {"--set", 0, 0});
    } catch (const InputError&) {
      continue;
    }
    const std::optional<std::string> written = document->get(path);
    MOESIM_CHECK(written.has_value(), "what was set is there");
    Document copy = *document;
    copy.set(path, *written, {"--set", 0, 0});
    MOESIM_CHECK(copy.to_json() == document->to_json(), "get and set are inverse");
    expect_same(*document, document->to_json());
  }
  document->erase("a.b");
  return 0;
}
