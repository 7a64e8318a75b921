#include "sim/cli/sources.h"

#include <fmt/format.h>

#include "sim/cli/args.h"

namespace moesim {

KernelProfile::Source source_of(const std::string& command, const std::string& text) {
  const std::size_t first = text.find(',');
  const std::size_t second = first == std::string::npos ? first : text.find(',', first + 1);
  if (second == std::string::npos)
    throw UsageError(fmt::format("{}: --source '{}' is not NAME,COMMIT,LICENCE", command, text));
  return {text.substr(0, first), text.substr(first + 1, second - first - 1),
          text.substr(second + 1)};
}

}  // namespace moesim
