#pragma once

#include <cstddef>
#include <doctest/doctest.h>
#include <string>

#include "sim/base/reader.h"

namespace moesim {

/// A schema with one key of each kind; what is absent is fine, except where a case says `required`.
inline void read_sample(Reader& in) {
  if (in.has("name")) in.text("name");
  in.text_or("backend", "vllm");
  in.choice_or("policy", {"fcfs", "priority", "sjf"}, "fcfs");
  in.integer_or("gpus", 1, {.min = 1, .max = 8});
  in.optional_integer("seed", {});
  in.number_or("rate", 1, {.min = 0, .max = 1e6});
  in.number_or("sigma", 1, {});
  in.boolean_or("strict", false);
  if (in.has("mem_bw")) in.bytes_per_s("mem_bw", {.min = 1e11, .max = 1e14});
  if (in.has("mem_capacity")) in.bytes("mem_capacity", {.min = 1e9, .max = 1e12});
  if (in.has("peak")) in.flops_per_s("peak", {.min = 1e12, .max = 1e17});
  in.numbers_or("scales", {1}, {.min = 0, .max = 10});
  in.texts_or_empty("tags");
  Reader link = in.map_or_empty("link");
  link.number_or("latency_us", 1, {.min = 0, .max = 1000});
  link.reject_unknown_keys();
  for (Reader& node : in.maps_or_empty("nodes")) {
    node.text("profile");
    node.integer("count", {.min = 1, .max = 1e5});
    node.reject_unknown_keys();
  }
  in.reject_reserved({"lora"}, "LoRA comes with 0.3; leave it out");
  in.reject_unknown_keys();
}

/// All messages of a load, one a line, as the user sees them (the file "f" has no lines to show).
inline std::string messages(const std::string& text, void (*read)(Reader&) = read_sample) {
  try {
    const Document document = Document::parse(text, "f");
    Diagnostics diagnostics;
    Reader in(document, diagnostics);
    read(in);
    diagnostics.throw_if_any();
  } catch (const InputError& error) {
    for (const Diagnostic& diagnostic : error.diagnostics()) CHECK_FALSE(diagnostic.hint.empty());
    return error.what();
  }
  return "";
}

struct Mistake {
  std::string why;
  std::string text;
  std::string expect;
};

template <std::size_t N>
void check_all(const Mistake (&cases)[N], void (*read)(Reader&) = read_sample) {
  for (const Mistake& c : cases) {
    CAPTURE(c.why);
    CHECK(messages(c.text, read) == c.expect);
  }
}

/// Calls `use` with a reader of `text`; expects no mistakes.
template <class Use>
void with_reader(const std::string& text, const Use& use) {
  const Document document = Document::parse(text, "f");
  Diagnostics diagnostics;
  Reader in(document, diagnostics);
  use(in);
  CHECK_NOTHROW(diagnostics.throw_if_any());
}

}  // namespace moesim
