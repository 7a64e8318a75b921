#include <string>
#include <vector>

#include "scenarios/load_parts.h"

namespace moesim {

void reject_not_modelled(Reader& in, const std::vector<std::string>& keys,
                         const std::string& hint) {
  for (const std::string& key : keys) {
    if (in.has(key)) in.fail(key, "'" + key + "' is not modelled yet", hint);
  }
}

void read_placement(Reader& root, LoadContext& context) {
  const std::string key = "placement";
  const char* source = root.has(key) ? context.source(root.where(key)) : "default";
  context.resolve(key, "linear", source);
  if (root.is_map(key)) {
    Reader in = root.map(key);
    for (const char* form : {"file", "eplb"}) {
      if (in.has(form))
        in.fail(form, "is not modelled yet", "write placement: linear, or leave it out");
    }
    in.reject_unknown_keys();
    return;
  }
  const std::string placement = root.choice_or(key, {"linear", "round_robin"}, "linear");
  if (placement != "linear") {
    root.fail(key, "'" + placement + "' is not modelled yet",
              "write placement: linear, or leave it out");
  }
}

}  // namespace moesim
