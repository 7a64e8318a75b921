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

}  // namespace moesim
