#include "hardware/kernel_library.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>

#include "sim/base/files.h"

namespace moesim {

namespace {

namespace fs = std::filesystem;

/// The value of a text or number key near the start of a line of write_profile's.
std::string_view value_of(std::string_view line, std::string_view key) {
  const std::string quoted = "\"" + std::string(key) + "\":";
  const std::size_t at = line.find(quoted);
  if (at == std::string_view::npos) return {};
  std::string_view rest = line.substr(at + quoted.size());
  if (!rest.empty() && rest.front() == '"') rest.remove_prefix(1);
  return rest.substr(0, rest.find_first_of("\",}"));
}

/// A profile file, curves parsed when asked for.
class ProfileFile {
 public:
  struct Entry {
    std::string op, kernel, dtype;
    std::string_view line;
    std::shared_ptr<const KernelCurve> curve;
  };

  explicit ProfileFile(const fs::path& path) : path_(path), text_(read_file(path)) {
    std::string_view rest = text_;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      add_line(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (entries.empty()) parse_whole();  // someone reformatted it
  }

  std::shared_ptr<const KernelCurve> curve(Entry& entry) {
    const std::lock_guard lock(mutex_);
    if (entry.curve == nullptr) {
      std::string_view line = entry.line;
      if (line.ends_with(',')) line.remove_suffix(1);
      const KernelProfile one = read_profile(kHead + std::string(line) + "]}", path_.string());
      entry.curve = std::make_shared<const KernelCurve>(one.curves.front());
    }
    return entry.curve;
  }

  std::vector<Entry> entries;
  std::string system, framework, version;
  int sm_version = 0;

 private:
  void add_line(std::string_view line) {
    if (line.starts_with("{\"op\":")) {
      entries.push_back({std::string(value_of(line, "op")), std::string(value_of(line, "kernel")),
                         std::string(value_of(line, "dtype")), line, nullptr});
    } else if (line.starts_with("\"system\"")) {
      system = value_of(line, "system");
    } else if (line.starts_with("\"framework\"")) {
      framework = value_of(line, "framework");
    } else if (line.starts_with("\"version\"")) {
      version = value_of(line, "version");
    } else if (line.starts_with("\"sm_version\"")) {
      sm_version = std::stoi(std::string(value_of(line, "sm_version")));
    }
  }
  void parse_whole() {
    const KernelProfile profile = read_profile(text_, path_.string());
    system = profile.system;
    framework = profile.framework;
    version = profile.version;
    sm_version = profile.sm_version;
    for (const KernelCurve& c : profile.curves)
      entries.push_back({c.op, c.kernel, c.dtype, {}, std::make_shared<const KernelCurve>(c)});
  }

  static constexpr const char* kHead =
      R"({"schema_version":1,"system":"","framework":"","version":"","sm_version":0,)"
      R"("provenance":{"date":"","tool":"","origin":[],"sources":[{"name":"","commit":"","license":""}],)"
      R"("samples_digest":"","notes":""},"ops":[)";
  fs::path path_;
  std::string text_;
  std::mutex mutex_;
};

/// Profiles read so far, for all runs of the process.
std::shared_ptr<ProfileFile> shared_file(const fs::path& path) {
  static std::mutex mutex;
  static std::map<fs::path, std::shared_ptr<ProfileFile>> files;
  const std::lock_guard lock(mutex);
  std::shared_ptr<ProfileFile>& file = files[path];
  if (file == nullptr) file = std::make_shared<ProfileFile>(path);
  return file;
}

const std::vector<ProfileName>& all_names() {
  static const std::vector<ProfileName> names = shipped_profiles();
  return names;
}

/// Generations, for distances between GPUs.
double generation(int sm_version) {
  if (sm_version < 89) return 0;
  if (sm_version < 90) return 1;
  return sm_version < 100 ? 2 : 3;
}

/// What a step away from the own profile costs, in one currency: a generation of GPUs counts more
/// than another framework, that more than another card of the generation.
constexpr double kOtherFramework = 2, kOtherCard = 1, kGeneration = 2, kOtherDtype = 5,
                 kLaterKernel = 0.3, kOtherKernel = 1.5;

/// Spread that borrowing adds (standard deviation of the logarithm). H100 to H200 lands within
/// 5-8 % median (steptime.md 1), which is 0.1; the others are assumed.
double borrowing_spread(bool framework, bool card, double generations, bool dtype) {
  double variance = 0;
  if (framework) variance += 0.15 * 0.15;
  if (card) variance += 0.1 * 0.1;
  variance += generations * 0.2 * 0.2;
  if (dtype) variance += 0.2 * 0.2;
  return std::sqrt(variance);
}

}  // namespace

struct KernelLibrary::Index {
  KernelChoice choice;
  std::vector<std::shared_ptr<ProfileFile>> files;
};

KernelLibrary::KernelLibrary(KernelChoice choice) : index_(std::make_unique<Index>()) {
  index_->choice = std::move(choice);
  if (index_->choice.none) return;
  if (!index_->choice.file.empty()) index_->files.push_back(shared_file(index_->choice.file));
  for (const ProfileName& name : all_names()) {
    const bool own =
        name.system == index_->choice.system && name.framework == index_->choice.framework;
    if (own || index_->choice.donors) index_->files.push_back(shared_file(name.file));
  }
}

KernelLibrary::~KernelLibrary() = default;
KernelLibrary::KernelLibrary(KernelLibrary&&) noexcept = default;

namespace {

/// How far a profile is from what was asked for.
struct Distance {
  bool framework = false, card = false;
  double generations = 0;
  double cost = 0;
};

Distance distance(const ProfileFile& file, const KernelChoice& choice, bool explicit_file) {
  Distance out;
  out.framework = !explicit_file && file.framework != choice.framework;
  out.card = file.system != choice.system;
  if (out.card)
    out.generations = std::abs(generation(file.sm_version) - generation(choice.sm_version));
  out.cost = explicit_file ? -1 : 0;
  out.cost += out.framework ? kOtherFramework : 0;
  out.cost += out.card ? kOtherCard + kGeneration * out.generations : 0;
  return out;
}

/// Cost of taking `kernel` where these were asked for, the first preferred; 0 if any will do.
double kernel_cost(const std::string& kernel, std::span<const std::string> kernels) {
  if (kernels.empty()) return 0;
  const auto at = std::ranges::find(kernels, kernel);
  return at == kernels.end() ? kOtherKernel
                             : kLaterKernel * static_cast<double>(at - kernels.begin());
}

}  // namespace

FoundCurve KernelLibrary::find(const std::string& op, std::span<const std::string> kernels,
                               std::span<const std::string> dtypes, bool exact_kernel) const {
  const KernelChoice& choice = index_->choice;
  double least = std::numeric_limits<double>::infinity();
  std::shared_ptr<ProfileFile> best_file;
  ProfileFile::Entry* best = nullptr;
  FoundCurve found;
  for (const auto& file : index_->files) {
    const bool explicit_file = !choice.file.empty() && file == index_->files.front();
    const Distance away = distance(*file, choice, explicit_file);
    for (ProfileFile::Entry& entry : file->entries) {
      if (entry.op != op) continue;
      const auto dtype = std::ranges::find(dtypes, entry.dtype);
      if (!dtypes.empty() && dtype == dtypes.end()) continue;
      if (exact_kernel && std::ranges::find(kernels, entry.kernel) == kernels.end()) continue;
      const auto later = static_cast<double>(dtype - dtypes.begin());
      const double cost = away.cost + kOtherDtype * later + kernel_cost(entry.kernel, kernels);
      if (cost >= least) continue;
      least = cost;
      best = &entry;
      best_file = file;
      found.donor = away.framework || away.card || later > 0;
      found.extra_spread = borrowing_spread(away.framework, away.card, away.generations, later > 0);
    }
  }
  if (best == nullptr) return {};
  found.curve = best_file->curve(*best);
  found.profile = best_file->system + "/" + best_file->framework + "-" + best_file->version;
  return found;
}

}  // namespace moesim
