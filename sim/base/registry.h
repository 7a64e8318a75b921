#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sim/base/check.h"

namespace moesim {

class Reader;

/// Implementations of interface I by name. Each extension file registers one at its end; iteration
/// is in name order, so nothing depends on link order.
template <class I>
class Registry {
 public:
  using Factory = std::function<std::unique_ptr<I>(Reader& params)>;
  struct Entry {
    std::string description;
    Factory make;
  };

  static std::map<std::string, Entry>& entries() {
    static std::map<std::string, Entry> map;
    return map;
  }
  [[nodiscard]] static const Entry* find(const std::string& name) {
    const auto it = entries().find(name);
    return it == entries().end() ? nullptr : &it->second;
  }
  [[nodiscard]] static std::vector<std::string> names() {
    std::vector<std::string> result;
    for (const auto& [name, entry] : entries()) result.push_back(name);
    return result;
  }
};

/// `const Register<I> kName{"name", "one line", factory};` at the end of an extension file.
template <class I>
struct Register {
  Register(std::string name, std::string description, typename Registry<I>::Factory make) {
    const bool is_new =
        Registry<I>::entries()
            .emplace(std::move(name),
                     typename Registry<I>::Entry{std::move(description), std::move(make)})
            .second;
    MOESIM_CHECK(is_new, "every name is registered once");
  }
};

}  // namespace moesim
