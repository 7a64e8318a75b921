#include "hardware/dispatch.h"

#include "hardware/dispatch_maker.h"
#include "sim/base/check.h"
#include "sim/base/reader.h"

namespace moesim {

std::unique_ptr<DispatchBackend> make_dispatch(const std::string& name,
                                               const DispatchSetup& setup) {
  const auto* entry = Registry<DispatchMaker>::find(name);
  MOESIM_CHECK(entry != nullptr, "a dispatch backend is registered under that name");
  MOESIM_CHECK(setup.gpus.size() >= 2 && setup.topology != nullptr && setup.collectives != nullptr,
               "a dispatch joins at least two ranks of a topology");
  const Document none = Document::parse("{}", "dispatch");
  Diagnostics diagnostics;
  Reader parameters(none, diagnostics);
  return entry->make(parameters)->make(setup);
}

std::vector<std::string> dispatch_names() {
  return Registry<DispatchMaker>::names();
}

}  // namespace moesim
