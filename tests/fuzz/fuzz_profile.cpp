// Any text is a kernel profile that reads back from its own text and whose curves can be judged on
// a card, or an InputError with a hint for every mistake. Few texts are profiles, so the bytes also
// serve as edits of a good one.
#include <cstddef>
#include <cstdint>
#include <string>

#include "hardware/profile.h"
#include "hardware/profile_physics.h"
#include "sim/base/check.h"
#include "sim/base/diagnostic.h"

namespace {

using namespace moesim;

void try_profile(const std::string& text) {
  static const SystemSpec kSystem = load_system("h100_sxm", "", {});
  constexpr std::size_t kFew = 2;  // curves that are judged quickly
  try {
    const KernelProfile profile = read_profile(text, "fuzz.json");
    const std::string written = write_profile(profile);
    MOESIM_CHECK(write_profile(read_profile(written, "fuzz.json")) == written,
                 "what we write reads back");
    if (profile.curves.size() <= kFew) static_cast<void>(check_physics(profile, kSystem));
  } catch (const InputError& error) {
    MOESIM_CHECK(!error.diagnostics().empty(), "an error says why");
    for (const Diagnostic& diagnostic : error.diagnostics())
      MOESIM_CHECK(!diagnostic.hint.empty(), "an error says what to do");
  }
}

/// The smallest curve of a shipped profile.
std::string good_text() {
  KernelProfile profile = load_profile(shipped_profiles().front().file);
  const auto knots = [](const KernelCurve& curve) { return curve.table.values.size(); };
  KernelCurve smallest = profile.curves.front();
  for (const KernelCurve& curve : profile.curves) {
    if (knots(curve) > 0 && (knots(smallest) == 0 || knots(curve) < knots(smallest)))
      smallest = curve;
  }
  profile.curves = {smallest};
  return write_profile(profile);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try_profile(std::string(data, data + size));
  // Three bytes an edit: where, and what.
  static const std::string kGood = good_text();
  std::string edited = kGood;
  for (std::size_t i = 0; i + 2 < size; i += 3) {
    const std::size_t at = std::size_t{data[i]} | std::size_t{data[i + 1]} << 8;
    edited[at % edited.size()] = static_cast<char>(data[i + 2]);
  }
  if (size >= 3) try_profile(edited);
  return 0;
}
