#pragma once

#include <string>

#include "sim/base/diagnostic.h"

namespace moesim {

/// Throws an InputError with this one mistake.
[[noreturn]] inline void refuse(const Where& where, const std::string& key,
                                const std::string& problem, const std::string& hint) {
  Diagnostic mistake;
  mistake.where = where;
  mistake.key = key;
  mistake.problem = problem;
  mistake.hint = hint;
  throw InputError(std::vector<Diagnostic>(1, mistake));
}

}  // namespace moesim
