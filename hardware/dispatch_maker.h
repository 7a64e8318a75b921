#pragma once

#include <memory>
#include <string>
#include <utility>

#include "hardware/dispatch.h"
#include "sim/base/registry.h"

namespace moesim {

/// What is registered for a dispatch backend: makes one for a group. Private to hardware.
class DispatchMaker {
 public:
  using Function = std::unique_ptr<DispatchBackend> (*)(const DispatchSetup&);
  explicit DispatchMaker(Function function) : make_(function) {}
  [[nodiscard]] std::unique_ptr<DispatchBackend> make(const DispatchSetup& setup) const {
    return make_(setup);
  }

 private:
  Function make_;
};

/// `const RegisterDispatch kName{"name", "one line", function};` at the end of an extension file.
struct RegisterDispatch {
  RegisterDispatch(std::string name, std::string description, DispatchMaker::Function make)
      : registered(std::move(name), std::move(description),
                   [make](Reader&) { return std::make_unique<DispatchMaker>(make); }) {}
  Register<DispatchMaker> registered;
};

}  // namespace moesim
