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
constexpr const char* kUngated = "nongated";

/// How far a curve is from what was asked for.
struct Distance {
  bool framework = false, card = false, dtype = false, kernel = false;
  double generations = 0;
  double cost = 0;

  [[nodiscard]] bool borrows() const { return framework || card || dtype || kernel; }
};

/// Spread that borrowing adds (standard deviation of the logarithm). H100 to H200 lands within
/// 5-8 % median (steptime.md 1), which is 0.1. Two kernels for the same experts on one card are
/// 0.32 (bf16 on H100 and H200) to 0.46 (blocks of fp8 on H200) apart, Triton against CUTLASS, root
/// mean square over the cases that both tables have. The others are assumed.
double borrowing_spread(const Distance& away) {
  double variance = 0;
  if (away.framework) variance += 0.15 * 0.15;
  if (away.card) variance += 0.1 * 0.1;
  variance += away.generations * 0.2 * 0.2;
  if (away.dtype) variance += 0.2 * 0.2;
  if (away.kernel) variance += 0.35 * 0.35;
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

/// Rows of experts without a gate alone: TensorRT-LLM's table names them; SGLang's has no others
/// under the name of CUTLASS.
bool is_ungated(const ProfileFile& file, const ProfileFile::Entry& entry) {
  if (entry.op != "moe") return false;
  return entry.kernel == kUngated || (file.framework == "sglang" && entry.kernel == "cutlass");
}

/// What a query calls the kernel of an entry; empty if the entry cannot answer it.
std::string_view kernel_name(const ProfileFile& file, const ProfileFile::Entry& entry,
                             const KernelQuery& query) {
  if (!query.gated || !is_ungated(file, entry)) return entry.kernel;
  return *query.gated ? std::string_view() : std::string_view(kUngated);
}

/// Adds what number format and kernel are away; false if the entry cannot answer.
bool add_entry(const ProfileFile& file, const ProfileFile::Entry& entry, const KernelQuery& query,
               Distance& away) {
  const auto dtype = std::ranges::find(query.dtypes, entry.dtype);
  if (!query.dtypes.empty() && dtype == query.dtypes.end()) return false;
  const std::string_view name = kernel_name(file, entry, query);
  if (name.empty() && !entry.kernel.empty()) return false;
  const auto kernel = std::ranges::find(query.kernels, name);
  const bool named = query.kernels.empty() || kernel != query.kernels.end();
  if (!named && query.exact_kernel) return false;
  const auto later = static_cast<std::size_t>(dtype - query.dtypes.begin());
  away.dtype = !query.dtypes.empty() && later >= query.own_dtypes;
  away.kernel = !named;
  away.cost += kOtherDtype * static_cast<double>(later);
  if (!query.kernels.empty())
    away.cost +=
        named ? kLaterKernel * static_cast<double>(kernel - query.kernels.begin()) : kOtherKernel;
  return true;
}

}  // namespace

FoundCurve KernelLibrary::find(const KernelQuery& query) const {
  const KernelChoice& choice = index_->choice;
  double least = std::numeric_limits<double>::infinity();
  std::shared_ptr<ProfileFile> best_file;
  ProfileFile::Entry* best = nullptr;
  FoundCurve found;
  for (const auto& file : index_->files) {
    const bool explicit_file = !choice.file.empty() && file == index_->files.front();
    const Distance profile = distance(*file, choice, explicit_file);
    for (ProfileFile::Entry& entry : file->entries) {
      Distance away = profile;
      if (entry.op != query.op || !add_entry(*file, entry, query, away)) continue;
      if (away.cost >= least) continue;
      least = away.cost;
      best = &entry;
      best_file = file;
      found.donor = away.borrows();
      found.extra_spread = borrowing_spread(away);
    }
  }
  if (best == nullptr) return {};
  found.curve = best_file->curve(*best);
  found.profile = best_file->system + "/" + best_file->framework + "-" + best_file->version;
  return found;
}

}  // namespace moesim
